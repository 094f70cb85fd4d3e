// Draws the report's charts from the data in the file. Nothing is fetched.
(() => {
  'use strict';
  const { times, values } = JSON.parse(document.getElementById('data').textContent);
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const digits = v => Math.abs(v) >= 100 ? v.toFixed(0) : +v.toPrecision(3) + '';
  const text = (unit, v) => {
    if (v == null) return '–';
    if (unit === 'seconds') return v < 1 ? digits(v * 1000) + ' ms' : digits(v) + ' s';
    if (unit === 'ratio') return digits(v * 100) + ' %';
    if (unit === 'bytes') return digits(v / 1048576) + ' MiB';
    return digits(v) + (unit === 'per second' ? '/s' : '');
  };
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    const spec = JSON.parse(figure.dataset.chart), box = figure.querySelector('.plot'), words = document.createElement('div');
    words.className = 'key-line';
    const shown = spec.series.map((s, n) => {
      const item = document.createElement('span'), value = document.createElement('b');
      item.className = 'k' + n % 8;
      item.append(document.createElement('i'), s.label + ' ', value);
      words.append(item);
      return value;
    });
    const say = i => spec.series.forEach((s, n) => { shown[n].textContent = i == null ? '' : text(spec.unit, values[s.signal]?.[i]); });
    const line = { stroke: css('--dim'), font: '11px system-ui, sans-serif', grid: { stroke: css('--grid'), width: 1 }, ticks: { stroke: css('--grid'), width: 1 } };
    box.replaceChildren(words);
    const marks = u => {
      u.ctx.save();
      u.ctx.strokeStyle = css('--dim');
      u.ctx.setLineDash([4, 4]);
      for (const m of spec.marks ?? []) {
        const x = u.valToPos(m.at, 'x', true);
        u.ctx.beginPath();
        u.ctx.moveTo(x, u.bbox.top);
        u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
        u.ctx.stroke();
      }
      u.ctx.restore();
    };
    new uPlot({
      width: box.clientWidth, height: 190, legend: { show: false }, cursor: { sync: { key: 'report' } },
      scales: { y: { range: (u, low, high) => [Math.min(low ?? 0, 0), high > 0 ? high * 1.08 : 1] } },
      axes: [line, { ...line, size: 62, values: (u, ticks) => ticks.map(t => text(spec.unit, t)) }],
      series: [{}, ...spec.series.map((s, n) => ({ label: s.label, stroke: css('--s' + n % 8), width: 1.5, points: { show: false } }))],
      hooks: { setCursor: [u => say(u.cursor.idx)], draw: [marks] },
    }, [times, ...spec.series.map(s => values[s.signal] ?? times.map(() => null))], box);
  }
})();
