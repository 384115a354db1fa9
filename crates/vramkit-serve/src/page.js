// What comes (ticks, as server-sent events, and what has been before them), and what is done with it.

// ---- what comes

function take(tick) {
  const at = seconds(tick.time);
  for (const d of tick.devices) {
    const kept = state.history[d.device.id] ||= [];
    if (known(d.total_bytes)) state.totals[d.device.id] = d.total_bytes.value;
    // A clock that was set back: what would come after now goes, where no history says where it belongs.
    while (kept.length && kept[kept.length - 1].unix_seconds > at) kept.pop();
    if (!kept.length || at > kept[kept.length - 1].unix_seconds)
      kept.push(sample(at, known(d.used_bytes) ? d.used_bytes.value : null, d.level, d.holders));
    if (kept.length > SAMPLES) kept.shift();
  }
  const told = new Set(state.events.map(e => `${e.time} ${e.device} ${e.text}`));
  state.events.push(...tick.events.filter(e => !told.has(`${e.time} ${e.device} ${e.text}`)));
  state.events.splice(0, Math.max(0, state.events.length - EVENTS));
  state.heard = performance.now();
  if (state.paused) return;
  state.tick = tick;
  draw();
  live();
}
function say(text, time = '') {
  put($('state'), text);
  put($('clock'), time);
  $('shown').classList.remove('old');
}
// What is shown is not of now: of when it is, is said, and it is dimmed.
function sayOld(text) {
  say(text, state.tick ? ', shown: ' + clock(state.tick.time) : '');
  $('shown').classList.add('old');
}
const live = () => state.paused ? say('paused') : say('live', state.tick ? ', ' + clock(state.tick.time) : '');

// The token: a link may carry it (`?token=`, a plus is a plus); it goes out of the address bar at once and into this tab's
// session storage, which no other port of the machine is sent, as it would be a cookie. It is shown in a header.
let token = null;
const TOKEN = 'vramkit-token';
function keepToken(text) {
  token = text;
  try { text ? sessionStorage.setItem(TOKEN, text) : sessionStorage.removeItem(TOKEN); } catch { /* this page alone keeps it */ }
}
function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}
function readAddress() {
  try { token = sessionStorage.getItem(TOKEN); } catch { /* there is none */ }
  const parts = location.search.slice(1).split('&'), given = parts.find(part => part.startsWith('token='));
  if (given !== undefined) {
    keepToken(decoded(given.slice('token='.length)));
    const rest = parts.filter(part => !part.startsWith('token=')).join('&');
    history.replaceState(null, '', location.pathname + (rest ? '?' + rest : '') + location.hash);
  }
  state.chosen = decoded(location.hash.slice(1));
}
class Refused extends Error {
  constructor(status, text) { super(text.trim()); this.status = status; }
}
async function ask(path, signal) {
  const answer = await fetch(path, { headers: token ? { Authorization: 'Bearer ' + token } : {}, cache: 'no-store', signal });
  if (!answer.ok) throw new Refused(answer.status, await answer.text());
  return answer;
}
function askForToken() {
  const was = token;
  keepToken('');
  put($('why'), was ? 'That token is not the right one.' : 'This server asks for a token.');
  sayOld('waiting for a token');
  $('ask').hidden = false;
  $('token').focus();
  return new Promise(done => {
    $('ask').onsubmit = event => {
      event.preventDefault();
      const text = $('token').value.trim();
      if (!/^[!-~]+$/.test(text)) { put($('why'), 'A token is letters, digits and signs, without spaces.'); return; }
      keepToken(text);
      $('token').value = '';
      $('ask').hidden = true;
      done();
    };
  });
}

// Server-sent events, read by hand: an EventSource cannot show a token in a header.
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = '';;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      const event = { event: '', id: '', data: '' };
      for (const line of part.split('\n')) {
        const at = line.indexOf(': ');
        if (at > 0) event[line.slice(0, at)] = line.slice(at + 2);
      }
      yield event;
    }
  }
}
const sleep = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
async function follow(isWell) {
  const stop = new AbortController();
  let heard = performance.now(), last = null, filled = heard, time = -Infinity;
  const watch = setInterval(() => { if (performance.now() - heard > 40000) stop.abort(); }, 5000);
  try {
    // What was missed is in the history; without it there is still what comes.
    const fill = () => ask('/api/history', stop.signal).then(answer => answer.json()).then(takeHistory).catch(error => { if (error.status !== 503) throw error; });
    await fill();
    const answer = await ask('/events', stop.signal);
    for await (const event of eventsOf(answer.body)) {
      heard = performance.now();
      if (event.event !== 'tick') continue;
      isWell();
      const number = Number(event.id);
      if (last !== null && number > last + 1 && heard - filled > 30000) { filled = heard; await fill(); }
      last = number;
      const tick = JSON.parse(event.data), at = seconds(tick.time);
      // The server's clock was set back, and what it keeps with it.
      if (at < time) await fill();
      time = at;
      take(tick);
    }
  } finally {
    clearInterval(watch);
    stop.abort();
  }
}
async function run() {
  readAddress();
  for (let failures = 0;;) {
    let reason = 'it was closed';
    try {
      await follow(() => { failures = 0; });
    } catch (error) {
      if (error.status === 401) { await askForToken(); continue; }
      if (error.status === 503) {
        // No place among those who follow: ask now and then instead.
        try { take(await (await ask('/api/snapshot')).json()); await sleep(2); continue; } catch { /* said below */ }
      }
      reason = error.status ? error.message : 'the server does not answer';
    }
    failures++;
    const pause = Math.min(2 ** (failures - 1), 15);
    sayOld(`connection lost: ${reason}; trying again in ${pause} s`);
    await sleep(pause);
  }
}
// A server that lives and reads nothing says nothing: this does.
setInterval(() => {
  const silent = (performance.now() - state.heard) / 1000;
  if (state.heard && silent > 20 && $('state').textContent === 'live') {
    put($('clock'), `, but no reading for ${span(silent)}: shown is that of ${clock(state.tick.time)}`);
    $('shown').classList.add('old');
  }
}, 1000);

// ---- what is done with it

function choose(id, focus) {
  state.chosen = id;
  history.replaceState(null, '', '#' + encodeURIComponent(id));
  draw();
  if (focus) [...$('devices').children].find(tab => keys.get(tab) === id)?.focus();
}
function pause() {
  state.paused = !state.paused;
  set($('pause'), 'aria-pressed', String(state.paused));
  live();
}
addEventListener('keydown', event => {
  if (!state.tick || event.ctrlKey || event.metaKey || event.altKey) return;
  const on = document.activeElement, tab = on && on.closest('[role=tab]'), free = !on || on === document.body;
  if (!tab && !free) return;
  const ids = state.tick.devices.map(d => d.device.id), at = ids.indexOf(state.chosen);
  const steps = { ArrowRight: at + 1, ArrowLeft: at < 0 ? -1 : at - 1 };
  if (tab) Object.assign(steps, { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: ids.length - 1 });
  if (Object.hasOwn(steps, event.key) && ids.length) choose(ids[(steps[event.key] + ids.length) % ids.length], tab);
  else if (event.key === ' ' && free) pause();
  else if (event.key === '/') $('filter').focus();
  else return;
  event.preventDefault();
});
$('pause').onclick = pause;
$('filter').oninput = () => { state.filter = $('filter').value.trim().toLowerCase(); draw(); };
addEventListener('hashchange', () => { state.chosen = decoded(location.hash.slice(1)); draw(); });
addEventListener('resize', draw);
dark.addEventListener('change', draw);
run();
