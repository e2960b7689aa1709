import { during, isSupported, post, registration, say } from './passkey.js';

const form = document.querySelector('#enrol');
const trouble = document.querySelector('#trouble');
const done = document.querySelector('#done');

// The link carries name and code behind '#', which no server and no log sees.
function take() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of ['name', 'code']) if (given.get(name)) form.elements[name].value = given.get(name);
  if (location.hash) history.replaceState(null, '', location.pathname);
}
take();
// The link may be opened where this page is already.
addEventListener('hashchange', take);

if (isSupported()) {
  form.hidden = false;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    trouble.hidden = true;
    const name = form.elements.name.value.trim();
    const code = form.elements.code.value.trim();
    try {
      const button = form.querySelector('button');
      await during(button, 'Waiting for your passkey…', async () => {
        const options = await post('/enrol/options', { name, code });
        const made = await registration(options, name);
        return post('/enrol', { name, code, registration: made });
      });
      form.hidden = true;
      done.hidden = false;
      done.querySelector('a').focus();
    } catch (error) {
      say(trouble, error);
    }
  });
} else {
  document.querySelector('#unsupported').hidden = false;
}
