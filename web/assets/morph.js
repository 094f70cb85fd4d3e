// Makes one tree like another with as few changes as it can, so that focus, selection, scrolling and open
// details stay. What carries data-keep belongs to the scripts and is left alone.

export function morph(from, to) {
  if (from.hasAttribute('data-keep') && to.hasAttribute('data-keep')) return;
  attributes(from, to);
  // An open form that somebody fills in, and the element with the focus in it, are theirs.
  if (from.matches('details.edit[open], dialog[open], select:focus, input:focus')) return;
  children(from, to);
}

// owned are attributes that the user sets by what he does.
const owned = new Set(['open', 'hidden', 'data-may-not', 'aria-busy']);

function attributes(from, to) {
  for (const { name, value } of [...to.attributes]) if (!owned.has(name) && from.getAttribute(name) !== value) from.setAttribute(name, value);
  for (const { name } of [...from.attributes]) if (!owned.has(name) && !to.hasAttribute(name)) from.removeAttribute(name);
}

const key = node => node.nodeType === 1 ? node.id || node.dataset?.chart?.slice(0, 80) || '' : '';
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

function children(from, to) {
  let old = from.firstChild;
  for (const next of [...to.childNodes]) {
    let match = old;
    while (match && !alike(match, next)) match = match.nextSibling;
    if (!match) {
      from.insertBefore(document.importNode(next, true), old);
      continue;
    }
    while (old !== match) { const gone = old; old = old.nextSibling; gone.remove(); }
    if (match.nodeType === 1) morph(match, next);
    else if (match.nodeValue !== next.nodeValue) match.nodeValue = next.nodeValue;
    old = match.nextSibling;
  }
  while (old) { const gone = old; old = old.nextSibling; gone.remove(); }
}
