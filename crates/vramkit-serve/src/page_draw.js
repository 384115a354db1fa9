'use strict';
// What is drawn: a tick and what is kept of those before. It is changed in place, so that focus, selection and scrolling survive.
const $ = id => document.getElementById(id);
const HUES = [211, 28, 142, 275, 340, 180, 52, 0];
const SAMPLES = 1200, EVENTS = 500, ROWS = 1000;
const dark = matchMedia('(prefers-color-scheme: dark)');
const dictionary = () => Object.create(null); // ids are other people's: `__proto__` is one like any other
const state = { tick: null, heard: 0, history: dictionary(), totals: dictionary(), events: [], chosen: '', paused: false, filter: '' };

// ---- words and numbers

function bytes(n) {
  if (n === null || n === undefined) return null;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
  let i = 0;
  while (Math.abs(n) >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return (i === 0 ? n : n.toFixed(n < 10 ? 2 : 1)) + ' ' + units[i];
}
function span(seconds) {
  if (seconds < 90) return seconds.toFixed(0) + ' s';
  if (seconds < 5400) return (seconds / 60).toFixed(0) + ' min';
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + ' h';
  return (seconds / 86400).toFixed(0) + ' days';
}
const percent = ratio => (100 * ratio).toFixed(1) + ' %';
const known = reading => reading && reading.value !== null && reading.value !== undefined;
const clock = time => (time || '').slice(11, 19) + ' UTC';
// Since when: the day too, when it is not today's.
const since = time => !time ? '' : ' since ' + (time.slice(0, 10) === state.tick.time.slice(0, 10) ? clock(time) : time.slice(0, 10) + ' ' + clock(time));
const seconds = time => Date.parse(time) / 1000;

const ABSENT = { unread: 'not read', given: 'given away' };
function presence(device) {
  const p = device.presence;
  if (!p || p.state === 'present') return null;
  return `${ABSENT[p.state] || p.state}${since(p.since)}${p.reason ? ': ' + p.reason : ''}`;
}
function activity(device) {
  const a = device.activity;
  if (!a) return '';
  const is = v => v !== null && v !== undefined, words = [];
  if (is(a.utilization_ratio)) words.push((100 * a.utilization_ratio).toFixed(0) + ' % busy');
  if (is(a.temperature_celsius)) words.push(a.temperature_celsius.toFixed(0) + ' °C');
  if (is(a.power_watts)) words.push(a.power_watts.toFixed(0) + (is(a.power_limit_watts) ? `/${a.power_limit_watts.toFixed(0)} W` : ' W'));
  return words.join(' · ');
}
// The whole of a device as it was last known: the scale of one that is lost stays.
const whole = device => known(device.total_bytes) && device.total_bytes.value || state.totals[device.device.id] || 0;
function amount(device) {
  const used = device.used_bytes, total = device.total_bytes;
  if (!known(used)) return 'not available';
  return known(total) && total.value ? `${bytes(used.value)} of ${bytes(total.value)}, ${(100 * used.value / total.value).toFixed(0)} %` : `${bytes(used.value)} used`;
}
const whose = who => who ? [who.user, who.pod && 'pod ' + who.pod, who.job && 'job ' + who.job, who.container && !who.pod && who.container].filter(Boolean).join(' · ') : '';
const searched = (...words) => words.filter(w => w !== null && w !== undefined).join(' ').toLowerCase();

// ---- the document

// Names come from other programs: text, never markup.
function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}
function shape(tag, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
// Only what differs is written.
function put(node, text) {
  text = text === null || text === undefined ? '' : String(text);
  if (node.textContent === text) return;
  if (node.childNodes.length === 1 && node.firstChild.nodeType === 3) node.firstChild.data = text;
  else node.textContent = text;
}
function set(node, name, value) {
  if (value === null || value === undefined || value === false || value === '') { if (node.hasAttribute(name)) node.removeAttribute(name); }
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}
// Makes the children of `parent` those of `items`, by key; what is there stays there. While some of its text is selected,
// nothing changes its place.
const keys = new WeakMap();
function keep(parent, items, key, make, update) {
  const there = new Map([...parent.children].map(node => [keys.get(node), node]));
  const selection = getSelection();
  if (!selection.isCollapsed && parent.contains(selection.anchorNode)) {
    const order = new Map([...there.keys()].map((k, at) => [k, at]));
    const place = item => order.get(key(item)) ?? Infinity;
    items = items.map(item => [place(item), item]).sort((a, b) => a[0] - b[0] || 0).map(pair => pair[1]);
  }
  const wanted = new Set(items.map(key));
  for (const [k, node] of there) if (!wanted.has(k)) node.remove();
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = key(item);
    let node = there.get(k);
    if (!node) { node = make(item); keys.set(node, k); there.set(k, node); }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update(node, item);
  }
}
// Two of a name are told apart by their order.
function distinct(items, key) {
  const seen = new Map();
  return items.map(item => {
    const k = key(item), times = seen.get(k) || 0;
    seen.set(k, times + 1);
    return { key: times ? `${k}#${times}` : k, item };
  });
}

// ---- samples

// The largest holders, and all that is left as "others", so that they add up to what is used.
function sample(at, used, level, holders) {
  const told = holders.filter(h => h.name !== 'others').slice(0, HUES.length).map(h => ({ name: h.name, bytes: h.bytes }));
  const sum = list => list.reduce((all, h) => all + h.bytes, 0);
  const rest = (used ?? sum(holders)) - sum(told);
  if (rest > 0) told.push({ name: 'others', bytes: rest });
  return { unix_seconds: at, used_bytes: used, level, holders: told };
}
function takeHistory(past) {
  state.history = dictionary();
  for (const [id, samples] of Object.entries(past.devices))
    state.history[id] = samples.map(s => sample(s.unix_seconds, s.used_bytes, s.level, s.holders));
  state.events = past.events;
}
// Hues of a device's largest holders; a holder keeps its own while it is one of them.
const colors = new Map();
function colored(id, samples) {
  const most = new Map();
  for (const s of samples) for (const h of s.holders) if (h.name !== 'others') most.set(h.name, Math.max(most.get(h.name) || 0, h.bytes));
  const names = [...most].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, HUES.length).map(([name]) => name);
  const before = colors.get(id) || new Map(), now = new Map();
  for (const name of names) if (before.has(name)) now.set(name, before.get(name));
  const free = HUES.filter(hue => ![...now.values()].includes(hue));
  for (const name of names) if (!now.has(name)) now.set(name, free.shift());
  colors.set(id, now);
  return now;
}
const color = (hues, name) => hues.has(name) ? `hsl(${hues.get(name)} 55% ${dark.matches ? 58 : 52}%)` : 'var(--others)';
// Stretches in which nothing is missing: what was not read is not drawn.
function stretches(samples) {
  const steps = samples.slice(1).map((s, i) => s.unix_seconds - samples[i].unix_seconds).sort((a, b) => a - b);
  const longest = Math.max(10, 5 * (steps[steps.length >> 1] || 0));
  const found = [];
  let current = null;
  for (const s of samples) {
    const is = s.used_bytes !== null && s.used_bytes !== undefined;
    if (is && current && s.unix_seconds - current[current.length - 1].unix_seconds <= longest) current.push(s);
    else if (is) found.push(current = [s]);
    else current = null;
  }
  return found;
}

// ---- drawing

function drawTile(tab, device) {
  const part = name => tab.querySelector('.' + name);
  const gone = presence(device), level = gone ? 'none' : device.level || 'none', id = device.device.id;
  put(part('id'), id);
  part('level').className = 'level ' + (gone ? 'critical' : level);
  put(part('level'), gone ? (device.presence.state === 'given' ? '' : '✕ ') + (ABSENT[device.presence.state] || device.presence.state) : device.level ? '● ' + device.level : 'no level');
  put(part('name'), device.device.name);
  set(part('name'), 'title', device.device.name);
  const used = device.used_bytes, total = device.total_bytes, has = known(used) && known(total) && total.value;
  part('bar').hidden = !has;
  part('bar').className = 'bar ' + level;
  part('bar').firstChild.style.width = has ? Math.min(100, 100 * used.value / total.value) + '%' : '0';
  put(part('amount'), amount(device));
  part('amount').className = 'amount' + (known(used) ? '' : ' none');
  set(part('amount'), 'title', known(used) ? '' : used && used.unavailable);
  const words = activity(device);
  put(part('activity'), words);
  part('activity').hidden = !words;
  put(part('presence'), gone);
  part('presence').hidden = !gone;
  set(part('presence'), 'title', gone);
  spark(part('spark').firstChild, device);
  const chosen = id === state.chosen;
  set(tab, 'aria-selected', String(chosen));
  set(tab, 'tabindex', chosen ? '0' : '-1');
}
function spark(path, device) {
  const samples = (state.history[device.device.id] || []).slice(-120);
  const most = whole(device) || Math.max(1, ...samples.map(s => s.used_bytes || 0));
  const from = samples.length ? samples[0].unix_seconds : 0, to = samples.length ? samples[samples.length - 1].unix_seconds : 1;
  const point = s => `${(100 * (s.unix_seconds - from) / Math.max(to - from, 1e-9)).toFixed(1)} ${(20 - 18 * Math.min(1, s.used_bytes / most)).toFixed(1)}`;
  set(path, 'd', stretches(samples).map(s => 'M' + s.map(point).join('L')).join(''));
}
let tabs = 0;
function makeTile() {
  const tab = element('button');
  tab.type = 'button';
  tab.id = 'tab-' + tabs++;
  set(tab, 'role', 'tab');
  set(tab, 'aria-controls', 'device');
  const top = element('span', 'top');
  top.append(element('b', 'id'), ' ', element('span', 'level'));
  const bar = element('span', 'bar');
  set(bar, 'aria-hidden', 'true');
  bar.append(element('i'));
  const line = shape('svg', { class: 'spark', viewBox: '0 0 100 22', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  line.append(shape('path', { fill: 'none', stroke: 'currentColor', 'stroke-width': 1.5, 'vector-effect': 'non-scaling-stroke' }));
  tab.append(top, element('span', 'name'), bar, element('span', 'amount'), line, element('span', 'activity'), element('span', 'presence critical'));
  tab.onclick = () => choose(keys.get(tab));
  return tab;
}

function chart(device, hues) {
  const svg = $('chart'), id = device.device.id, samples = state.history[id] || [];
  svg.replaceChildren();
  const width = svg.clientWidth || 800, height = svg.clientHeight || 300, left = 62, bottom = 22, top = 8;
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  svg.setAttribute('aria-label', `Memory of ${id} by holder over time: ${amount(device)}`);
  const all = stretches(samples), drawn = all.flat();
  const most = whole(device) || Math.max(1, ...drawn.map(s => s.used_bytes));
  const y = v => top + (height - top - bottom) * (1 - Math.min(v, most) / most);
  for (let i = 0; i <= 4; i++) {
    const v = most * i / 4;
    svg.append(shape('line', { x1: left, x2: width, y1: y(v), y2: y(v), stroke: 'var(--line)' }));
    svg.append(shape('text', { x: left - 6, y: y(v) + 4, 'text-anchor': 'end' }, bytes(v)));
  }
  put($('caption'), drawn.some(s => s.used_bytes < s.holders.reduce((sum, h) => sum + h.bytes, 0)) ? 'Holders say that they hold more than the device says is used: areas above the line are theirs alone.' : '');
  if (drawn.length < 2) {
    svg.append(shape('text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' }, drawn.length ? 'the first readings…' : 'no number to draw'));
    return;
  }
  const from = samples[0].unix_seconds, to = samples[samples.length - 1].unix_seconds;
  const x = t => left + (width - left) * (t - from) / Math.max(to - from, 1e-9);
  const names = [...hues.keys(), 'others'];
  for (const stretch of all) {
    const end = stretch[stretch.length - 1].unix_seconds;
    // Level bands below the areas.
    for (let start = 0, i = 1; i <= stretch.length; i++) {
      if (i < stretch.length && stretch[i].level === stretch[start].level) continue;
      const [level, a, b] = [stretch[start].level, x(stretch[start].unix_seconds), x(i === stretch.length ? end : stretch[i].unix_seconds)];
      if (level && level !== 'normal') svg.append(shape('rect', { x: a, width: Math.max(1, b - a), y: top, height: height - top - bottom, fill: `var(--${level})`, opacity: .14 }));
      start = i;
    }
    let base = stretch.map(() => 0);
    for (const name of names) {
      // Whoever has no colour of its own is one of the others.
      const is = name === 'others' ? h => !hues.has(h.name) : h => h.name === name;
      const tops = stretch.map((s, i) => base[i] + s.holders.reduce((sum, h) => is(h) ? sum + h.bytes : sum, 0));
      if (tops.every((v, i) => v === base[i])) continue;
      const points = stretch.map((s, i) => `${x(s.unix_seconds)},${y(tops[i])}`).concat(stretch.map((s, i) => `${x(s.unix_seconds)},${y(base[i])}`).reverse());
      const area = shape('polygon', { points: points.join(' '), fill: color(hues, name), opacity: .85 });
      area.append(shape('title', {}, name));
      svg.append(area);
      base = tops;
    }
    svg.append(shape('polyline', { points: stretch.map(s => `${x(s.unix_seconds)},${y(s.used_bytes)}`).join(' '), fill: 'none', stroke: 'var(--text)', 'stroke-width': 1.5 }));
  }
  for (const event of state.events.filter(e => e.device === id)) {
    const t = seconds(event.time);
    if (t < from || t > to) continue;
    const mark = shape('line', { x1: x(t), x2: x(t), y1: top, y2: height - bottom, stroke: 'var(--critical)', 'stroke-dasharray': '3 3' });
    mark.append(shape('title', {}, event.text));
    svg.append(mark);
  }
  svg.append(shape('text', { x: left, y: height - 6 }, span(to - from) + ' before'));
  svg.append(shape('text', { x: width - 2, y: height - 6, 'text-anchor': 'end' }, clock(new Date(1000 * to).toISOString())));
}

// A row of a table: what it is with a small line below it, whose it is, two numbers. Its title is the whole command.
function makeRow() {
  const row = element('tr'), what = element('td');
  what.append(element('span', 'key'), element('span', 'what'), element('small'));
  row.append(what, element('td', 'left whose'), element('td'), element('td'));
  return row;
}
function drawRow(node, { item: r }) {
  const [what, owner, holds, other] = node.children, [key, name, small] = what.children;
  key.hidden = !r.color;
  if (r.color && key.dataset.color !== r.color) key.style.background = key.dataset.color = r.color;
  what.className = r.inside ? 'inside' : '';
  put(name, r.what);
  put(small, r.small);
  small.hidden = !r.small;
  put(owner, r.whose);
  put(holds, r.holds);
  put(other, r.other);
  set(node, 'title', r.title);
}
function drawRows(body, rows) {
  const shown = rows.filter(r => !state.filter || r.searched.includes(state.filter));
  keep(body, distinct(shown.slice(0, ROWS), r => r.key), row => row.key, makeRow, drawRow);
  return shown;
}
function holderRows(device, hues) {
  const total = known(device.total_bytes) && device.total_bytes.value;
  return device.holders.map(h => ({
    key: h.name, what: h.name, color: color(hues, h.name), small: h.command, whose: whose(h), holds: bytes(h.bytes), bytes: h.bytes,
    other: total ? percent(h.bytes / total) : '', title: h.command || h.name, searched: searched(h.name, h.pid, h.user, h.command, h.container, h.pod, h.job),
  }));
}
function partRows(device) {
  const rows = [];
  for (const p of device.processes.value || [])
    rows.push({
      key: 'process ' + p.pid, what: known(p.name) ? p.name.value : 'process ' + p.pid, small: `pid ${p.pid}${p.command ? ' · ' + p.command : ''}`, whose: whose(p),
      holds: bytes(p.used_bytes.value) || '–', other: bytes(p.peak_bytes.value) || '–', title: p.command || (p.name && p.name.unavailable) || '',
      searched: searched(known(p.name) && p.name.value, p.pid, p.user, p.command, p.container, p.pod, p.job),
    });
  for (const p of device.pools) {
    const who = p.process || {}, found = searched('pool', p.name, p.pid, who.user, who.command, who.container, who.pod, who.job);
    rows.push({
      key: `pool ${p.pid} ${p.name}`, what: 'pool ' + p.name, small: `pid ${p.pid} · ${bytes(p.stats.committed_bytes)} held, ${p.stats.live} live`, whose: whose(who),
      holds: bytes(p.stats.used_bytes), other: bytes(p.stats.peak_used_bytes), title: who.command, searched: found,
    });
    for (const o of p.owners)
      rows.push({
        key: `owner ${p.pid} ${p.name} ${o.model ?? ''} ${o.purpose}`, what: o.model ?? 'nobody', inside: true, small: `${o.purpose}, ${o.allocations} allocations`, whose: '',
        holds: bytes(o.granted_bytes), other: bytes(o.peak_bytes), title: '', searched: found + ' ' + searched(o.model ?? 'nobody', o.purpose),
      });
  }
  return rows;
}
function numbers(device) {
  const lines = [['total', device.total_bytes], ['used', device.used_bytes], ['free', device.free_bytes], ['driver', device.driver_bytes]]
    .map(([name, r]) => ({ name, text: known(r) ? bytes(r.value) : 'not available', none: !known(r), title: known(r) ? 'from ' + r.source : r && r.unavailable }));
  const line = (name, text) => lines.push({ name, text, title: '' });
  const shared = device.shared_bytes;
  if (shared) lines.push({ name: 'of the machine’s memory (GTT)', text: known(shared) ? bytes(shared.value) : 'not available', none: !known(shared), title: shared.unavailable });
  if (device.activity) line('activity', activity(device) || 'not available');
  if (device.stall) line('waiting for memory, 10 s / 60 s / 300 s', ['avg10_ratio', 'avg60_ratio', 'avg300_ratio'].map(k => percent(device.stall.some[k])).join(' / '));
  const f = device.forecast;
  if (f) line('full in', f.full_in_seconds ? span(f.full_in_seconds) + (f.full_in_seconds_latest ? ` (${span(f.full_in_seconds_soonest)} to ${span(f.full_in_seconds_latest)})` : ` (${span(f.full_in_seconds_soonest)} or never)`) : 'not filling');
  line('changes of level', device.level_changes);
  return lines;
}
function drawNumbers(device) {
  const cells = numbers(device).flatMap(l => [{ tag: 'dt', key: l.name, text: l.name, title: l.title }, { tag: 'dd', key: l.name + ' value', text: l.text, title: l.title, none: l.none }]);
  keep($('numbers'), cells, c => c.key, c => element(c.tag), (node, c) => { put(node, c.text); set(node, 'title', c.title); node.className = c.none ? 'none' : ''; });
}
function drawTitle(device) {
  const words = [['', device.device.name], device.level ? ['level ' + device.level, device.level] : ['none', 'level not available']];
  if (device.growing) words.push(['high', device.growing.fast ? 'growing fast' : 'sustained growth']);
  for (const leak of device.suspected) words.push(['critical', `leak suspected: ${leak.tag || 'untagged'} of ${leak.model ?? 'nobody'}`]);
  keep($('title'), distinct(words, w => w[1]), w => w.key, () => element('span'), (node, { item: [name, text] }) => { node.className = name; put(node, text + ' '); });
  const gone = presence(device);
  $('presence').hidden = !gone;
  put($('presence'), gone);
}
function drawSources(tick) {
  const lines = (tick.sources || []).map(s => ({ name: s.source, state: s.health, since: s.since, reason: s.reason }));
  for (const u of tick.unavailable)
    if (!lines.some(l => l.reason === u.reason)) lines.push({ name: u.source, state: 'not available', reason: u.reason });
  const r = tick.recorder;
  if (r) lines.push({ name: 'recorder', state: r.state || r.health || (r.reason ? 'failing' : 'up'), since: r.since, reason: r.reason });
  keep($('sources'), distinct(lines, l => l.name), l => l.key, () => { const li = element('li'); li.append(element('strong'), ' ', element('span'), element('span', 'soft')); return li; }, (li, { item: l }) => {
    const [name, how, why] = li.children;
    put(name, l.name);
    put(how, l.state);
    how.className = l.state === 'up' ? 'normal' : ['absent', 'not available'].includes(l.state) ? 'soft' : 'critical';
    put(why, since(l.since) + (l.reason ? ': ' + l.reason : ''));
  });
}

function draw() {
  const tick = state.tick;
  if (!tick) return;
  $('shown').hidden = false;
  const none = tick.devices.length === 0;
  if (!state.chosen && !none) state.chosen = tick.devices[0].device.id;
  const device = tick.devices.find(d => d.device.id === state.chosen);
  $('device').hidden = !device;
  $('nothing').hidden = !!device;
  // Another device in its place would be read as the one that was chosen.
  put($('nothing'), none ? 'There is no device here. The sources below say why.' : device ? '' : `${state.chosen} is not here, or not any more. It is shown again when it is; choose another one above.`);
  keep($('devices'), tick.devices, d => d.device.id, makeTile, drawTile);
  drawSources(tick);
  if (!device) {
    // The tab key still finds the tabs.
    const first = $('devices').firstElementChild;
    if (first) set(first, 'tabindex', '0');
    return;
  }
  const tab = [...$('devices').children].find(node => keys.get(node) === state.chosen);
  set($('device'), 'aria-labelledby', tab && tab.id);
  const hues = colored(device.device.id, state.history[device.device.id] || []);
  drawTitle(device);
  chart(device, hues);
  drawNumbers(device);
  const holders = holderRows(device, hues), shown = drawRows($('holders'), holders), sum = shown.reduce((all, r) => all + r.bytes, 0);
  const total = known(device.total_bytes) && device.total_bytes.value;
  const unknown = !holders.length && !known(device.used_bytes);
  put($('together'), unknown ? 'not known' : bytes(sum));
  put($('together-part'), total && !unknown ? percent(sum / total) : '');
  keep($('notes'), distinct([...(device.assigned || []).map(to => `assigned to ${to.pod} (${to.container})`), ...(device.notes || [])], note => note), n => n.key, () => element('li'), (li, { item }) => put(li, item));
  const parts = partRows(device), found = drawRows($('parts'), parts);
  put($('found'), state.filter ? `${shown.length} of ${holders.length} holders, ${found.length} of ${parts.length} processes and pools` : Math.max(shown.length, found.length) > ROWS ? `the first ${ROWS} of ${Math.max(shown.length, found.length)} are shown` : '');
  $('no-processes').hidden = !device.processes.unavailable;
  put($('no-processes'), device.processes.unavailable && 'processes: ' + device.processes.unavailable);
  keep($('events'), distinct(state.events.slice(-100).reverse(), e => `${e.time} ${e.device} ${e.text}`), e => e.key, ({ item: e }) => {
    const line = element('li');
    line.append(element('time', '', e.time.slice(11, 19)), element('strong', '', e.device), ' ' + e.text);
    return line;
  }, () => {});
}
