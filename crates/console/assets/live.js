// Keeps a page current. An element with data-live names a path that answers { fields: { key: text }, version, over }: texts go
// into the elements with data-field=key, and with another version the page is loaded anew, so that what was added or removed is
// shown by the server like everything else. An element with data-events names a stream of events, each of which is a reason to
// load the page anew, at most every data-pause milliseconds.

const EVERY_MS = 1000;
/** A page that nobody touches is not kept signed in by its own questions. */
const IDLE_MS = 10 * 60 * 1000;
/** Whoever reads slowly can have pages stand still. */
const PAUSED = 'palisade-paused';

let touched = Date.now();

export function watch() {
  for (const kind of ['pointermove', 'keydown', 'focus']) {
    addEventListener(kind, () => (touched = Date.now()), { passive: true });
  }
  if (document.querySelector('[data-live], [data-events]')) offerPause();
  const asked = document.querySelector('[data-live]');
  if (asked) setTimeout(() => ask(asked), EVERY_MS);
  const told = document.querySelector('[data-events]');
  if (told) listen(told);
}

const isPaused = () => localStorage.getItem(PAUSED) !== null;

const isLooking = () => !isPaused() && document.visibilityState === 'visible' && Date.now() - touched < IDLE_MS;

/** Nothing is taken away from somebody who types, reads what they opened, or is about to press. */
const isBusy = () =>
  document.activeElement?.matches('a, summary, input, textarea, select, button') || document.querySelector('main details[open]') !== null;

function offerPause() {
  const button = document.querySelector('#pause');
  const tell = () => {
    button.textContent = isPaused() ? 'This page stands still: let it renew itself' : 'This page renews itself: let it stand still';
  };
  button.addEventListener('click', () => {
    if (isPaused()) localStorage.removeItem(PAUSED);
    else localStorage.setItem(PAUSED, '1');
    tell();
    button.blur();
  });
  tell();
  button.hidden = false;
}

async function ask(place) {
  if (isLooking()) {
    try {
      const response = await fetch(place.dataset.live, { headers: { accept: 'application/json' }, redirect: 'error' });
      if (response.ok && show(place, await response.json())) return;
    } catch {
      // The next question may be answered.
    }
  }
  setTimeout(() => ask(place), EVERY_MS);
}

/** Whether there is nothing more to ask. */
function show(place, now) {
  for (const [key, text] of Object.entries(now.fields ?? {})) {
    for (const field of document.querySelectorAll(`[data-field="${CSS.escape(key)}"]`)) {
      if (field instanceof HTMLProgressElement) field.value = Number(text);
      else if (field.textContent !== text) field.textContent = text;
    }
  }
  if (now.version !== place.dataset.version && !isBusy()) {
    location.reload();
    return true;
  }
  return now.over === true && now.version === place.dataset.version;
}

function listen(place) {
  const pause = Number(place.dataset.pause ?? 300);
  const begun = Date.now();
  let waits = false;
  let stream = null;
  const renew = () => {
    if (isBusy() || !isLooking()) setTimeout(renew, 1000);
    else location.reload();
  };
  const told = () => {
    if (waits) return;
    waits = true;
    setTimeout(renew, Math.max(300, pause - (Date.now() - begun)));
  };
  const open = () => {
    stream = new EventSource(place.dataset.events);
    stream.addEventListener('device', told);
  };
  // A stream is opened anew by the browser again and again, which would keep somebody signed in who has gone.
  setInterval(() => {
    if (!stream && isLooking()) open();
    else if (stream && !isLooking()) {
      stream.close();
      stream = null;
    }
  }, 2000);
  open();
}
