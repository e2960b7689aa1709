// Keeps words on a page current. An element with data-live names a path that answers { fields: { key: text }, version, over }.
// Texts go into the elements with data-field=key; when the version is another one, the page is loaded anew, so that what was
// added or removed is shown by the server as everything else.

const EVERY_MS = 1000;
/** A page that nobody touches is not kept signed in by its own questions. */
const IDLE_MS = 10 * 60 * 1000;

export function watch() {
  const place = document.querySelector('[data-live]');
  if (!place) return;
  let touched = Date.now();
  for (const kind of ['pointermove', 'keydown', 'focus']) {
    addEventListener(kind, () => (touched = Date.now()), { passive: true });
  }
  const ask = async () => {
    if (document.visibilityState === 'visible' && Date.now() - touched < IDLE_MS) {
      try {
        const response = await fetch(place.dataset.live, { headers: { accept: 'application/json' }, redirect: 'error' });
        if (response.ok) {
          const now = await response.json();
          if (show(place, now)) return;
        }
      } catch {
        // The next question may be answered.
      }
    }
    setTimeout(ask, EVERY_MS);
  };
  setTimeout(ask, EVERY_MS);
}

/** Whether there is nothing more to ask. */
function show(place, now) {
  for (const [key, text] of Object.entries(now.fields ?? {})) {
    for (const field of document.querySelectorAll(`[data-field="${CSS.escape(key)}"]`)) {
      if (field.textContent !== text) field.textContent = text;
      if (field instanceof HTMLProgressElement) field.value = Number(text);
    }
  }
  if (now.version !== place.dataset.version) {
    place.dataset.version = now.version;
    const isTyping = document.activeElement?.matches('input, textarea, select');
    if (!isTyping) {
      location.reload();
      return true;
    }
  }
  return now.over === true;
}
