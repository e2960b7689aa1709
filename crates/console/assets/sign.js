// Has the passkey sign what is on the page, and sends it.

import { during, isSupported, post, proof, say } from './passkey.js';

const trouble = document.querySelector('#trouble');
const ids = (place) => place.dataset.passkeys.split(' ').filter(Boolean);
const parsed = (text) => (text ? JSON.parse(text) : undefined);

const plan = document.querySelector('#propose');
if (plan) {
  const button = plan.querySelector('#sign');
  const sure = button.dataset.needs && document.getElementById(button.dataset.needs);
  if (sure) {
    button.disabled = !sure.checked;
    sure.addEventListener('change', () => (button.disabled = !sure.checked));
  }
  button.addEventListener('click', () =>
    signed(button, async () => {
      const { id, intent, rp, devices, openings } = plan.dataset;
      const shown = await proof(id, rp, ids(plan));
      await post('/api/v1/intents', { intent, proof: shown, devices: parsed(devices), openings: parsed(openings) });
      location.assign(`/intents/${id}`);
    }),
  );
}

const choice = document.querySelector('#decide');
for (const button of choice?.querySelectorAll('[data-decision]') ?? []) {
  button.addEventListener('click', () =>
    signed(button, async () => {
      const { intent, rp } = choice.dataset;
      const shown = await proof(button.dataset.challenge, rp, ids(choice));
      await post(`/api/v1/intents/${intent}/decisions`, { decision: button.dataset.decision, proof: shown });
      location.reload();
    }),
  );
}

async function signed(button, work) {
  trouble.hidden = true;
  try {
    if (!isSupported()) throw new Error('this browser has no passkeys here');
    await during(button, 'Waiting for your passkey…', work);
  } catch (error) {
    say(trouble, error);
    trouble.scrollIntoView({ block: 'nearest' });
  }
}
