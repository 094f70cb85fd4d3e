// Sends what forms change to the admin API as JSON, asks first where that is wanted, and says how it went.
import { here } from './main.js';

const said = document.getElementById('said');

export function say(words, fault) {
  const p = document.createElement('p');
  p.textContent = words;
  if (fault) p.className = 'fault';
  said.append(p);
  setTimeout(() => p.remove(), fault ? 12000 : 5000);
}

// ask resolves to whether the user says yes.
function ask(title, words) {
  const dialog = document.getElementById('ask');
  dialog.querySelector('h2').textContent = title;
  dialog.querySelector('p').textContent = words;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', function closed() {
    if (dialog.open) return; // the close of the question before, told late
    dialog.removeEventListener('close', closed);
    done(dialog.returnValue === 'yes');
  }));
}

// bodyOf is a form as JSON: empty fields are left out, data-type="json" is read as such, data-into nests.
function bodyOf(form) {
  const fields = {};
  for (const x of form.elements) {
    if (!x.name || x.type === 'checkbox' && !x.checked) continue;
    const option = x.selectedOptions?.[0];
    const json = (option ?? x).dataset.type === 'json' || x.dataset.type === 'json';
    if (x.value === '') continue;
    fields[x.name] = json ? JSON.parse(x.value) : x.value;
  }
  const { choice, into } = form.dataset;
  if (choice) { // one field names the other
    const by = fields[choice];
    fields[by] = by === 'all' ? true : fields.what ?? '';
    delete fields[choice];
    delete fields.what;
  }
  return into ? { [into]: fields } : fields;
}

async function send(form, refresh) {
  const { method, confirm, done } = form.dataset;
  const button = form.querySelector('button');
  if (confirm && !await ask(button.textContent.trim().replace(' …', ''), confirm)) return;
  const body = bodyOf(form);
  button?.setAttribute('aria-busy', 'true');
  try {
    const answer = await fetch(form.getAttribute('action'), {
      method, headers: { 'Content-Type': 'application/json' }, body: Object.keys(body).length ? JSON.stringify(body) : undefined,
    });
    if (answer.status === 401) { location.assign('login?next=' + encodeURIComponent(here())); return; }
    const got = answer.headers.get('Content-Type')?.includes('json') ? await answer.json() : {};
    if (!answer.ok) {
      const more = (got.errors ?? []).slice(0, 3).map(e => [e.file && e.file + ':' + e.line, e.key ?? e.pointer, e.detail].filter(Boolean).join(' '));
      say([got.detail || got.title || 'refused: ' + answer.status, ...more].join('\n'), true);
    } else {
      say(done === 'purged' ? (got.purged ?? 0) + ' entries were purged' : done || 'done');
      form.closest('details.edit')?.removeAttribute('open');
    }
  } catch {
    say('The server did not answer; nothing is known about the change.', true);
  } finally {
    button?.removeAttribute('aria-busy');
    refresh(location.href);
  }
}

// filter hides the lines that lack the text.
function filter(input) {
  const want = input.value.toLowerCase();
  for (const row of document.querySelectorAll(input.dataset.filter)) row.hidden = !row.textContent.toLowerCase().includes(want);
}

async function whoAmI() {
  try {
    const answer = await fetch('admin/v1/session');
    if (!answer.ok) return;
    const me = await answer.json();
    if (me.read_only) document.body.dataset.mayNot = '';
    if (!me.session) return;
    const form = document.createElement('form'), button = document.createElement('button');
    form.action = 'logout';
    form.method = 'post';
    button.className = 'ghost';
    button.textContent = 'log out ' + (me.author ?? '');
    form.append(button);
    document.getElementById('who').replaceChildren(form);
  } catch { /* without an answer the page is only less polite */ }
}

export function actions(refresh) {
  document.addEventListener('submit', event => {
    const form = event.target;
    if (!form.dataset.method) return;
    event.preventDefault();
    send(form, refresh);
  });
  document.addEventListener('change', event => {
    const form = event.target.closest('form[data-auto]');
    if (form) form.requestSubmit();
  });
  document.addEventListener('input', event => { if (event.target.dataset.filter) filter(event.target); });
  whoAmI();
}
