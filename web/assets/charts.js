// Draws each figure[data-chart] by uPlot, keeps it up to date, and fills its table.
import { text } from './units.js';

const mounted = new Map(); // figure -> chart
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const two = n => String(n).padStart(2, '0');
const clock = s => { const d = new Date(s * 1000); return two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds()); };
const live = () => document.body.hasAttribute('data-live');
let open = () => {};
let axis = [], step = 1, first = 0, values = new Map(); // one axis of time for all
let loading = null;

// visible are the bounds of what is shown.
function visible() {
  const d = document.body.dataset;
  const length = (d.to - d.from) / 1000;
  const last = axis.length ? axis[axis.length - 1] : d.to / 1000;
  if (!live()) return [d.from / 1000, d.to / 1000];
  return [Math.max(last - length, Math.min(first, last - 60)), last]; // a young process is shown from its start
}

// load fetches all signals of all charts in one answer.
async function load() {
  const signals = new Set();
  for (const c of mounted.values()) for (const s of c.spec.series) signals.add(s.signal);
  if (!signals.size) return;
  loading?.abort();
  const mine = loading = new AbortController();
  const d = document.body.dataset;
  const length = (d.to - d.from) / 1000;
  const q = new URLSearchParams(live() ? { from: '-' + length + 's' } : { from: d.from / 1000, to: d.to / 1000 });
  if (length <= 900) q.set('step', '1s');
  const names = [...signals], parts = [];
  for (let i = 0; i < names.length; i += 60) parts.push(names.slice(i, i + 60));
  try {
    const answers = await Promise.all(parts.map(async part => {
      const query = new URLSearchParams(q);
      for (const s of part) query.append('signal', s);
      const answer = await fetch('admin/v1/history?' + query, { signal: mine.signal });
      return answer.ok ? answer.json() : null;
    }));
    if (answers.includes(null) || mine.signal.aborted) return;
    axis = answers[0].times;
    step = answers[0].step_seconds;
    values = new Map();
    first = Infinity;
    for (const a of answers) for (const s of a.series) {
      values.set(s.signal, s.values);
      const i = s.values.findIndex(v => v != null);
      if (i >= 0) first = Math.min(first, axis[i]);
    }
    draw();
  } catch { /* the stream tells that the server is away; load comes again with it */ }
}

// add takes the newest values of the stream.
function add(at, signals) {
  if (!live() || !mounted.size) return;
  const last = axis.length ? axis[axis.length - 1] : 0;
  if (!axis.length || at - last > 3 * Math.max(step, 1) + 5) { load(); return; } // a gap: the server knows what was in it
  if (at - last < step * 0.9) return;
  if (step > 2) { load(); return; } // a step is a mean of several samples
  axis.push(at);
  for (const [name, list] of values) list.push(signals[name] ?? null);
  for (const c of mounted.values()) for (const s of c.spec.series) if (!values.has(s.signal) && signals[s.signal] != null) values.set(s.signal, axis.map((_, i) => i === axis.length - 1 ? signals[s.signal] : null));
  const from = visible()[0];
  while (axis.length > 2 && axis[1] < from) { axis.shift(); for (const list of values.values()) list.shift(); }
  draw();
}

// data is a chart's own columns; an area is drawn from the bottom.
const data = spec => [axis, ...spec.series.map(s => values.get(s.signal) ?? axis.map(() => null))];

function draw() {
  const [min, max] = visible();
  for (const c of mounted.values()) {
    if (!c.plot) continue;
    c.plot.setData(data(c.spec), false);
    c.plot.setScale('x', { min, max });
    marks(c);
    if (c.details.open) table(c);
    if (c.plot.cursor.idx == null) latest(c);
  }
}

// latest says the values under the cursor, or the newest ones, in words.
function latest(c, at) {
  const i = at ?? axis.length - 1;
  c.spec.series.forEach((s, n) => { c.words[n].textContent = text(c.spec.unit, values.get(s.signal)?.[i]); });
  c.when.textContent = at == null ? '' : clock(axis[i]);
}

// steps are the distances between two ticks: round ones, and whole ones for counts.
const decades = (from, to) => Array.from({ length: to - from }, (_, i) => [1, 2, 5].map(n => n * 10 ** (from + i))).flat();
const steps = {
  count: decades(0, 9), seconds: decades(-6, 5), ratio: decades(-4, 1), cores: decades(-3, 3), 'per second': decades(-2, 9),
  bytes: Array.from({ length: 40 }, (_, i) => 2 ** i),
};

function options(c) {
  const { spec, box } = c;
  const dim = css('--dim'), grid = css('--grid');
  const font = '11px system-ui, sans-serif';
  const line = { stroke: dim, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
  return {
    width: Math.max(box.clientWidth, 120), height: Math.max(box.clientHeight - 22, 80),
    legend: { show: false },
    cursor: { sync: { key: 'penstock' }, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
    scales: { x: { time: true }, y: { range: (u, low, high) => [Math.min(low ?? 0, 0), high > 0 ? high * 1.08 : spec.unit === 'ratio' ? 0.1 : 1] } },
    axes: [
      { ...line, size: 26, space: 70, values: (u, ticks) => ticks.map(t => clock(t).slice(0, ticks.length > 1 && ticks[1] - ticks[0] < 60 ? 8 : 5)) },
      { ...line, size: 62, space: 32, incrs: steps[spec.unit] ?? steps.count, values: (u, ticks) => ticks.map(t => text(spec.unit, t).replace(/\.0+(?= |\/|$)/, '')) },
    ],
    series: [{}, ...spec.series.map((s, n) => {
      const stroke = css('--s' + n % 8);
      return { label: s.label, stroke, width: 1.5, spanGaps: false, points: { show: false },
        paths: spec.kind === 'step' ? uPlot.paths.stepped({ align: 1 }) : undefined,
        fill: spec.kind === 'area' && n === 0 ? stroke + '22' : undefined };
    })],
    hooks: {
      setCursor: [u => latest(c, u.cursor.idx ?? undefined)],
      setSelect: [u => {
        if (u.select.width < 8) return;
        const from = u.posToVal(u.select.left, 'x'), to = u.posToVal(u.select.left + u.select.width, 'x');
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        const url = new URL(location.href);
        url.searchParams.delete('range');
        url.searchParams.set('from', from.toFixed(1));
        url.searchParams.set('to', to.toFixed(1));
        open(url.href);
      }],
      setSize: [() => marks(c)],
    },
  };
}

// marks puts a link on the chart for each decision.
function marks(c) {
  const over = c.plot.over, wanted = c.spec.marks ?? [];
  const chosen = new URL(location.href).searchParams.get('decision');
  for (const old of [...over.querySelectorAll('.mark')]) if (!wanted.some(m => m.id === old.dataset.id)) old.remove();
  for (const m of wanted) {
    let a = [...over.querySelectorAll('.mark')].find(x => x.dataset.id === m.id);
    if (!a) {
      a = document.createElement('a');
      a.dataset.id = m.id;
      a.dataset.soft = '';
      over.append(a);
    }
    if (a.dataset.kind !== m.kind) {
      a.dataset.kind = m.kind;
      const icon = document.querySelector('.legend .m-' + m.kind + ' svg');
      a.replaceChildren(icon ? icon.cloneNode(true) : '|');
    }
    const url = new URL(location.href);
    url.searchParams.set('decision', m.id);
    a.href = url.href;
    a.title = m.text;
    a.setAttribute('aria-label', 'Decision, ' + m.kind + ': ' + m.text);
    a.className = 'mark m-' + m.kind + (m.id === chosen ? ' on' : '');
    const x = c.plot.valToPos(m.at, 'x');
    a.hidden = !(x >= 0 && x <= over.clientWidth);
    a.style.left = x + 'px';
    a.style.setProperty('--tall', over.clientHeight + 'px');
  }
}

// table fills the chart's table, newest first, two dozen lines.
function table(c) {
  const rows = [], each = Math.max(Math.floor(axis.length / 24), 1);
  for (let i = axis.length - 1; i >= 0 && rows.length < 30; i -= each) {
    const tr = document.createElement('tr'), th = document.createElement('th');
    th.scope = 'row';
    th.textContent = clock(axis[i]);
    tr.append(th);
    for (const s of c.spec.series) {
      const td = document.createElement('td');
      td.className = 'n';
      td.textContent = text(c.spec.unit, values.get(s.signal)?.[i]);
      tr.append(td);
    }
    rows.push(tr);
  }
  c.details.querySelector('tbody').replaceChildren(...rows);
}

function mount(figure) {
  const c = { figure, box: figure.querySelector('.plot'), details: figure.querySelector('details'), raw: figure.dataset.chart, spec: JSON.parse(figure.dataset.chart) };
  const words = document.createElement('div');
  words.className = 'key-line';
  c.words = c.spec.series.map((s, n) => {
    const item = document.createElement('span'), value = document.createElement('b');
    item.className = 'k' + n % 8;
    item.append(document.createElement('i'), s.label + ' ', value);
    words.append(item);
    return value;
  });
  c.when = document.createElement('span');
  words.append(c.when);
  c.box.replaceChildren(words);
  c.plot = new uPlot(options(c), data(c.spec), c.box);
  c.details.addEventListener('toggle', () => { if (c.details.open) table(c); });
  mounted.set(figure, c);
  sizes.observe(c.box);
}

const sizes = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const c = [...mounted.values()].find(x => x.box === target);
    if (c && target.clientWidth > 0 && Math.abs(target.clientWidth - c.plot.width) > 1) c.plot.setSize({ width: target.clientWidth, height: Math.max(target.clientHeight - 22, 80) });
  }
});

function drop(figure) {
  const c = mounted.get(figure);
  sizes.unobserve(c.box);
  c.plot.destroy();
  mounted.delete(figure);
}

// look finds figures that came, went or changed, and loads when the range or a signal is new.
let shown = '';
function look() {
  let fresh = false;
  for (const figure of [...mounted.keys()]) if (!figure.isConnected) drop(figure);
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const c = mounted.get(figure);
    if (c && c.raw === figure.dataset.chart) continue;
    const spec = JSON.parse(figure.dataset.chart);
    if (c && JSON.stringify(c.spec.series) === JSON.stringify(spec.series) && c.spec.unit === spec.unit) {
      c.raw = figure.dataset.chart; // other marks only
      c.spec = spec;
      marks(c);
      continue;
    }
    if (c) drop(figure);
    mount(figure);
    fresh = true;
  }
  const d = document.body.dataset, range = live() ? String(Math.round((d.to - d.from) / 1000)) : d.from + '-' + d.to;
  if (fresh || range !== shown) { shown = range; load(); } else draw();
}

// restyle draws anew, in the colours of the theme.
function restyle() {
  for (const c of mounted.values()) {
    c.plot.destroy();
    c.plot = new uPlot(options(c), data(c.spec), c.box);
  }
  draw();
}
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', restyle);

export const charts = {
  start(navigate) { open = navigate; look(); },
  look, load, add, restyle,
};
