// Writes values as the server does.
const none = '–';
const digits = (v, n) => v.toFixed(n);

export function number(v) {
  if (v == null || !isFinite(v)) return none;
  const a = Math.abs(v);
  if (a >= 1e7) return digits(v / 1e6, 1) + ' M';
  if (a >= 1000) return Math.round(v).toLocaleString('en-US');
  if (a >= 100 || Number.isInteger(v)) return digits(v, 0);
  if (a >= 10) return digits(v, 1);
  if (a >= 0.1) return digits(v, 2);
  return String(+v.toPrecision(2));
}

function seconds(v) {
  if (v === 0) return '0 s';
  if (v < 0.001) return number(v * 1e6) + ' µs';
  if (v < 0.01) return digits(v * 1e3, 1) + ' ms';
  if (v < 1) return digits(v * 1e3, 0) + ' ms';
  if (v < 10) return digits(v, 2) + ' s';
  if (v < 120) return digits(v, 0) + ' s';
  return v < 7200 ? digits(v / 60, 0) + ' min' : digits(v / 3600, 1) + ' h';
}

function bytes(v) {
  for (const [name, size] of [['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]]) if (v >= size) return digits(v / size, 1) + ' ' + name;
  return number(v) + ' B';
}

export function text(unit, v) {
  if (v == null || !isFinite(v)) return none;
  switch (unit) {
    case 'seconds': return seconds(v);
    case 'ratio': return (v && v < 0.01 ? digits(100 * v, 2) : v === 1 || v === 0 ? 100 * v : digits(100 * v, 1)) + ' %';
    case 'bytes': return bytes(v);
    case 'per second': return number(v) + '/s';
  }
  return number(v);
}
