"""Reading and writing files: whole or not at all, never through a link, damaged ones too."""
