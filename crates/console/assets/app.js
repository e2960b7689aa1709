// On every page: the menu on narrow screens, signing out, copying, what changes while one looks.

import { post } from './passkey.js';
import { watch } from './live.js';

document.documentElement.classList.add('js');

const menu = document.querySelector('#menu');
const opener = document.querySelector('.menu-button');
if (menu && opener) {
  const narrow = matchMedia('(max-width: 40rem)');
  const set = (open) => {
    menu.classList.toggle('closed', !open);
    opener.setAttribute('aria-expanded', String(open));
  };
  set(!narrow.matches);
  narrow.addEventListener('change', () => set(!narrow.matches));
  opener.addEventListener('click', () => set(menu.classList.contains('closed')));
}

document.querySelector('#sign-out')?.addEventListener('click', async () => {
  try {
    await post('/sign-out');
  } finally {
    location.assign('/sign-in');
  }
});

for (const button of document.querySelectorAll('[data-copy]')) {
  button.hidden = !navigator.clipboard;
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    const before = button.textContent;
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = before), 1500);
  });
}

for (const select of document.querySelectorAll('select[data-submit]')) {
  select.addEventListener('change', () => select.form.requestSubmit());
}

watch();
