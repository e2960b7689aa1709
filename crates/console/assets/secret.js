// One-time codes are made in the browser: the server and the record see their hash. The code waits in this tab until the
// invitation is in force, and is shown once.

const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';
const KEY = 'palisade-invitation:';

const form = document.querySelector('#invite');
form?.addEventListener('submit', async (event) => {
  if (form.elements.code_sha256.value) return;
  event.preventDefault();
  const code = Array.from(crypto.getRandomValues(new Uint8Array(32)), (octet) => LETTERS[octet % 32]).join('').replace(/(.{4})(?=.)/g, '$1-');
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(code)));
  const text = btoa(String.fromCharCode(...digest)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  sessionStorage.setItem(KEY + text, code);
  form.elements.code_sha256.value = text;
  form.submit();
});

const place = document.querySelector('#invitation');
const code = place && sessionStorage.getItem(KEY + place.dataset.digest);
if (code) {
  const title = document.createElement('h2');
  title.textContent = `The link for ${place.dataset.name}`;
  const words = document.createElement('p');
  words.textContent =
    place.dataset.waits === 'true'
      ? 'It works once the invitation is approved. Keep it until then: it is known to this tab only, and shown as long as the tab is open.'
      : 'It works once. It is known to this tab only: give it to the person over a way that you trust.';
  const link = document.createElement('p');
  const text = document.createElement('code');
  text.id = 'enrolment-link';
  text.textContent = `${location.origin}/enrol#${new URLSearchParams({ name: place.dataset.name, code })}`;
  link.append(text);
  place.append(title, words, link);
  place.hidden = false;
}
