"use strict";
// A clock that synchronizes videos: the longest one leads, and the others follow.
(() => {
  const SEEK_BEYOND = 0.2; // seconds of drift; a smaller drift is corrected by the playback rate

  /**
   * @param videos - returns the current videos.
   * @param changed - called with the time in seconds after every change.
   */
  Gallery.clock = (videos, changed) => {
    const clock = { playing: false, rate: 1 };
    let ticking = false;
    clock.leader = () => videos().reduce((long, video) => (long && long.duration >= video.duration ? long : video), null);
    clock.now = () => clock.leader()?.currentTime ?? 0;

    const start = (video) => {
      if (!video.ended) video.play().catch(() => {});
    };

    clock.play = () => {
      const leader = clock.leader();
      if (!leader) return;
      if (leader.ended || leader.currentTime >= leader.duration - 0.01) clock.seek(0);
      clock.playing = true;
      videos().forEach(start);
      if (!ticking) requestAnimationFrame(tick);
      ticking = true;
      changed(clock.now());
    };

    clock.pause = () => {
      clock.playing = false;
      const now = clock.now();
      for (const video of videos()) {
        video.pause();
        video.playbackRate = clock.rate;
        const target = Math.min(now, video.duration);
        if (!video.seeking && Math.abs(video.currentTime - target) > 0.001) video.currentTime = target;
      }
      changed(now);
    };

    clock.seek = (seconds) => {
      const leader = clock.leader();
      if (!leader) return;
      const target = Math.min(Math.max(seconds, 0), leader.duration);
      for (const video of videos()) {
        video.currentTime = Math.min(target, video.duration);
        if (clock.playing && video.paused && target < video.duration) start(video);
      }
      changed(target);
    };

    clock.setRate = (rate) => {
      clock.rate = rate;
      for (const video of videos()) video.playbackRate = rate;
    };

    /** Moves a video that has just been loaded to the time of the others. */
    clock.join = (video) => {
      const leader = clock.leader();
      if (leader && leader !== video) video.currentTime = Math.min(leader.currentTime, video.duration);
      video.playbackRate = clock.rate;
      if (clock.playing) clock.play();
      changed(clock.now());
    };

    /** Restarts videos, which stop when they are moved within the page. */
    clock.resume = () => clock.playing && videos().forEach(start);

    const tick = () => {
      const leader = clock.leader();
      ticking = Boolean(clock.playing && leader);
      if (!ticking) return;
      for (const video of videos()) {
        if (video === leader || video.seeking || leader.currentTime >= video.duration) continue;
        const drift = video.currentTime - leader.currentTime;
        if (Math.abs(drift) > SEEK_BEYOND) video.currentTime = leader.currentTime;
        video.playbackRate = clock.rate * (1 - Math.min(Math.max(drift * 2, -0.2), 0.2));
        if (video.paused) start(video);
      }
      changed(leader.currentTime);
      requestAnimationFrame(tick);
    };
    return clock;
  };
})();
