// Follows a run that is in progress, and shows its results when it is over.
(() => {
  "use strict";

  const INTERVAL = 1000; // milliseconds
  const section = document.querySelector("[data-progress-url]");
  if (!section) return;
  const bar = section.querySelector("progress");
  const activity = section.querySelector("[data-progress-activity]");

  async function look() {
    const response = await fetch(section.dataset.progressUrl);
    if (!response.ok) throw new Error(response.statusText);
    const state = await response.json();
    if (state.is_over) {
      location.reload();
      return;
    }
    bar.value = state.fraction;
    // Written only when it is new, so that a screen reader doesn't repeat it every second.
    if (activity.textContent !== state.activity) activity.textContent = state.activity;
    setTimeout(follow, INTERVAL);
  }

  // A server that is restarting is back soon.
  const follow = () => look().catch(() => setTimeout(follow, 5 * INTERVAL));
  setTimeout(follow, INTERVAL);
})();
