// Plays a film of two videos beside each other, which therefore cannot get out of step; shows their difference, curves
// and a table.
const find = name => element.querySelector(name);
const PLOTS = {
  identity: 'Identity: 0 is the portrait, 1 somebody else',
  color_distance: 'Colour: distance to the portrait in ΔE; 2 can just be seen',
  sharpness: 'Sharpness: share of the portrait’s; 1 is as sharp',
  motion: 'Motion: change from frame to frame, in levels of 255',
};
const ROWS = {
  identity_distance: 'Identity: 0 is the portrait, 1 somebody else',
  color_drift: 'Colour drift since the beginning, ΔE',
  sharpness_ratio: 'Sharpness, as a share of the beginning’s',
  motion_ratio: 'Motion, as a share of the beginning’s',
};
let figures = null;

const video = () => find('video'); // looked up each time: an error on the page may draw it anew
const frame = () => Math.min(Math.floor(video().currentTime * figures.fps + 0.01), figures.frames - 1);

function seek(number) {
  video().currentTime = (Math.min(Math.max(number, 0), figures.frames - 1) + 0.5) / figures.fps;
}

function show() {
  if (!figures) return;
  find('.timeline').value = frame();
  find('.clock').textContent = `${video().currentTime.toFixed(2)} s · frame ${frame()}`;
  element.querySelectorAll('.cursor').forEach(line => {
    const at = 100 * video().currentTime * figures.fps / figures.frames;
    line.setAttribute('x1', at); line.setAttribute('x2', at);
  });
  if (!find('.difference').hidden) drawDifference();
}

function drawDifference() {
  const canvas = find('canvas'), [left, right] = figures.places, [width, height] = left.slice(2);
  if (canvas.width !== width) canvas.width = width; // each time, it would be made anew
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext('2d');
  pen.globalCompositeOperation = 'copy';
  pen.drawImage(video(), ...left, 0, 0, width, height);
  pen.globalCompositeOperation = 'difference';
  pen.drawImage(video(), ...right, 0, 0, width, height);
}

function plot(name) {
  const curves = figures.sides.map(side => side[name] ?? []), top = Math.max(...curves.flat(), 1e-6) * 1.08;
  const seconds = figures.frames / figures.fps;
  const line = values => {
    const points = values.map((value, i) =>
      [100 * Math.min((i + 0.5) * figures.interval, seconds) / seconds, 40 - 40 * value / top]);
    const ends = [[0, points[0]?.[1]], ...points, [100, points.at(-1)?.[1]]];
    return ends.map(([x, y]) => `${x.toFixed(2)},${y?.toFixed(2)}`).join(' ');
  };
  return `<figure><figcaption>${PLOTS[name]}</figcaption>
    <span class="top">${top.toPrecision(2)}</span>
    <svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="${PLOTS[name]}, A and B over time">
      ${curves.map((values, i) => values.length ? `<polyline class="curve ${'ab'[i]}" points="${line(values)}"/>` : '').join('')}
      <line class="cursor" y1="0" y2="40"/></svg></figure>`;
}

function fill() {
  for (const name of ['.screens', '.controls', 'details']) find(name).hidden = !figures;
  find('.empty').hidden = Boolean(figures);
  if (!figures) { video().removeAttribute('src'); video().load(); return; }
  video().src = figures.film;
  find('.timeline').max = figures.frames - 1;
  find('.plots').innerHTML = Object.keys(PLOTS).map(plot).join('');
  find('tbody').innerHTML = Object.entries(ROWS).map(([name, text]) =>
    `<tr><th scope="row">${text}</th>${figures.sides.map(side => `<td>${side[name] ?? '–'}</td>`).join('')}</tr>`).join('');
  show();
}

function toggle() {
  if (!video().paused) { video().pause(); return; }
  if (frame() >= figures.frames - 1) seek(0);
  video().play();
}

function step(by) { video().pause(); seek(frame() + by); }

function showState() {
  find('.play').textContent = video().paused ? '▶' : '❚❚';
  find('.play').setAttribute('aria-label', video().paused ? 'Play' : 'Pause');
  tick();
}

function tick() { // asks for frames only while they change
  show();
  if (!video().paused && !video().ended) requestAnimationFrame(tick);
}

find('.play').onclick = toggle;
find('.back').onclick = () => step(-1);
find('.forth').onclick = () => step(1);
find('.timeline').oninput = () => { video().pause(); seek(Number(find('.timeline').value)); };
find('.show-difference').onchange = event => { find('.difference').hidden = !event.target.checked; show(); };
for (const name of ['play', 'pause', 'ended']) video().addEventListener(name, showState);
for (const name of ['seeked', 'loadeddata']) video().addEventListener(name, show);
watch('value', () => { figures = props.value?.film ? props.value : null; fill(); });
