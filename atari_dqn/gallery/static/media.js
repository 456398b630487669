"use strict";
// Still pictures of recordings, loaded when they come into view and let go when they leave it.
(() => {
  const { el, address } = Gallery;

  const loadVideo = (frame, one) => {
    const [path, seconds] = one.mp4;
    const still = Math.min(seconds / 2, 4).toFixed(2);
    const video = el("video", { preload: "metadata", playsinline: true, tabindex: "-1", "aria-hidden": "true" });
    video.muted = true;
    video.src = `${address(path)}#t=${still}`;
    frame.replaceChildren(video);
  };

  // A GIF would play by itself; its first picture does not.
  const loadGif = (frame, one) => {
    const image = new Image();
    image.onload = () => {
      if (!frame.dataset.near) return;
      const canvas = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
      canvas.getContext("2d").drawImage(image, 0, 0);
      frame.replaceChildren(canvas);
    };
    image.src = address(one.gif[0]);
  };

  const unload = (frame) => {
    for (const video of frame.querySelectorAll("video")) {
      video.removeAttribute("src");
      video.load();
    }
    frame.replaceChildren();
  };

  const shown = new WeakMap();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting === Boolean(target.dataset.near)) continue;
        if (isIntersecting) {
          target.dataset.near = "1";
          const one = shown.get(target);
          (one.mp4 ? loadVideo : loadGif)(target, one);
        } else {
          delete target.dataset.near;
          unload(target);
        }
      }
    },
    { rootMargin: "120px" },
  );

  Gallery.still = (one) => {
    const frame = el("span", { class: "still", role: "img", "aria-label": Gallery.describe(one) });
    shown.set(frame, one);
    observer.observe(frame);
    return frame;
  };

  /** Lets go of what has left the page. */
  Gallery.forgetStills = (parent) => {
    for (const frame of parent.querySelectorAll(".still")) {
      observer.unobserve(frame);
      unload(frame);
    }
  };
})();
