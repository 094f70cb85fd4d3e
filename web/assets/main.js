// Keeps the page up to date: a live stream says when there is something new, the page is then fetched as the
// server renders it and laid over the one shown, and the charts get their new values from the stream itself.
import { morph } from './morph.js';
import { charts } from './charts.js';
import { actions } from './actions.js';
import { keys } from './keys.js';

const body = document.body;
// Pages with much to render are renewed less often than the stream comes.
const every = { '.': 1000, queue: 1000, config: 5000 }[body.dataset.page] ?? 2500;
let fetched = 0, fetching = null, stale = false;

// refresh lays the page at url (default: this one) over what is shown. At most one is under way.
export async function refresh(url) {
  if (fetching && !url) { stale = true; return; }
  fetching?.abort();
  const mine = fetching = new AbortController();
  try {
    const answer = await fetch(url ?? location.href, { headers: { 'X-Live': '1', Accept: 'text/html' }, signal: mine.signal, cache: 'no-store' });
    if (answer.status === 401 || answer.redirected) { location.assign('login?next=' + encodeURIComponent(here())); return; }
    if (!answer.ok) return;
    const text = await answer.text();
    if (mine.signal.aborted) return;
    const page = new DOMParser().parseFromString(text, 'text/html');
    if (url && url !== location.href) history.pushState(null, '', url);
    document.title = page.title;
    morph(body, page.body);
    ready();
    charts.look();
  } catch (fault) {
    if (fault.name !== 'AbortError') lost();
  } finally {
    if (fetching === mine) fetching = null;
    fetched = performance.now();
  }
  if (stale) { stale = false; setTimeout(refresh, every); }
}

// here is this page relative to the prefix.
export const here = () => (body.dataset.page === '.' ? './' : body.dataset.page) + location.search;

// ready shows what only scripts can do.
function ready() {
  for (const x of document.querySelectorAll('#theme, .filter, .keys')) x.hidden = false;
}

const link = document.getElementById('link');
function say(kind, icon, word) {
  link.hidden = false;
  link.className = 'pill ' + kind;
  const now = icon + ' ' + word;
  if (link.textContent !== now) link.textContent = now;
}
const lost = () => say('warn', '▲', 'reconnecting');

// The stream is closed while nobody looks, so that tabs in the background cost nothing.
let stream = null;
function listen() {
  if (stream || document.hidden) return;
  stream = new EventSource('admin/v1/live');
  stream.addEventListener('now', event => {
    const now = JSON.parse(event.data);
    say('ok', '●', 'live');
    charts.add(Date.parse(now.at) / 1000, now.signals);
    if (performance.now() - fetched >= every - 100) refresh();
  });
  stream.onerror = () => {
    lost();
    if (stream?.readyState === EventSource.CLOSED) { // refused; the browser does not try again by itself
      stream.close();
      stream = null;
      setTimeout(listen, 2000);
    }
  };
}
document.addEventListener('visibilitychange', () => {
  if (document.hidden) { stream?.close(); stream = null; } else { listen(); charts.load(); refresh(); }
});
addEventListener('pagehide', () => { stream?.close(); stream = null; });
addEventListener('pageshow', event => { if (event.persisted) listen(); });

// Links inside a page change its state, which is in the URL.
document.addEventListener('click', event => {
  const a = event.target.closest?.('a[data-soft]');
  if (!a || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  refresh(a.href);
});
addEventListener('popstate', () => refresh());

ready();
actions(refresh);
keys();
charts.start(url => refresh(url));
listen();
