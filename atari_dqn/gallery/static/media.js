"use strict";
// Thumbnails of recordings, loaded when they come into view and released when they leave it.
(() => {
  const { el, address } = Gallery;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const loadVideo = (frame, one) => {
    const [path, seconds] = one.mp4;
    const still = Math.min(seconds / 2, 4).toFixed(2);
    const video = el("video", { preload: "metadata", playsinline: true, tabindex: "-1", "aria-hidden": "true" });
    video.muted = true;
    video.src = `${address(path)}#t=${still}`;
    frame.replaceChildren(video);
  };

  // A canvas shows the first frame only, because a GIF image would play.
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

  /** Starts or stops the animation of a thumbnail. */
  Gallery.enliven = (frame, moving) => {
    const [picture] = frame.children;
    if (calm.matches || !picture) return;
    if (picture instanceof HTMLVideoElement) {
      if (moving) picture.play().catch(() => {});
      else picture.pause();
    } else {
      for (const image of frame.querySelectorAll("img")) image.remove();
      picture.hidden = moving;
      if (moving) frame.append(el("img", { alt: "", src: address(shown.get(frame).gif[0]) }));
    }
  };

  /** Releases the thumbnails of an element that leaves the page. */
  Gallery.forgetStills = (parent) => {
    for (const frame of parent.querySelectorAll(".still")) {
      observer.unobserve(frame);
      unload(frame);
    }
  };
})();
