import { assertion, during, isSupported, post, say } from './passkey.js';

const button = document.querySelector('#sign-in');
const trouble = document.querySelector('#trouble');

if (isSupported()) {
  button.hidden = false;
  button.focus();
  button.addEventListener('click', async () => {
    trouble.hidden = true;
    try {
      const { next } = await during(button, 'Waiting for your passkey…', async () => {
        const asked = await post('/sign-in/statement');
        const signed = await assertion(asked.challenge, asked.rp_id);
        return post('/sign-in', { statement: asked.statement, assertion: signed, next: button.dataset.next });
      });
      location.assign(next);
    } catch (error) {
      say(trouble, error);
    }
  });
} else {
  document.querySelector('#unsupported').hidden = false;
}
