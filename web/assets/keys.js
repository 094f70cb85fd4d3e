// Keys, for those who do not like to reach for the mouse.
import { charts } from './charts.js';

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  try { localStorage.setItem('penstock-theme', root.dataset.theme); } catch { /* it holds for this page */ }
  charts.restyle();
}

function range(by) {
  const links = [...document.querySelectorAll('.range a')];
  const now = links.findIndex(a => a.hasAttribute('aria-current'));
  links[Math.min(Math.max(now + by, 0), links.length - 1)]?.click();
}

export function keys() {
  document.getElementById('theme').addEventListener('click', theme);
  document.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input, select, textarea') || document.querySelector('dialog[open]')) return;
    const k = event.key;
    if (k >= '1' && k <= '9') document.querySelectorAll('nav a')[k - 1]?.click();
    else if (k === '[') range(-1);
    else if (k === ']') range(1);
    else if (k === 'd') theme();
    else if (k === '?') document.getElementById('help').showModal();
    else if (k === '/') { const f = document.querySelector('[data-filter]'); if (f) { event.preventDefault(); f.focus(); } }
  });
}
