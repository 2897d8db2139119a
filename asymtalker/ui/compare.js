// Two videos in step: one clock (the left video's), one timeline in frames, a picture of the difference, plots and a table.
const find = name => element.querySelector(name);
const left = find('.left'), right = find('.right'), timeline = find('.timeline'), canvas = find('canvas');
const PLOTS = {
  identity: 'Identity: 0 is the portrait, 1 somebody else',
  color_distance: 'Colour: distance to the portrait, ΔE',
  sharpness: 'Sharpness: share of the portrait’s',
  motion: 'Motion: frame to frame, levels of 255',
};
const ROWS = {
  frames_per_second: 'Frames made per second',
  identity_distance: 'Identity, last second: 0 the portrait, 1 somebody else',
  color_drift: 'Colour drift, last second to first, ΔE',
  sharpness_ratio: 'Sharpness, last second over first',
  motion_ratio: 'Motion, last second over first',
};
let figures = null;

const frame = () => Math.min(Math.floor(left.currentTime * figures.fps + 0.01), figures.frames - 1);

function seek(number) {
  const time = (Math.min(Math.max(number, 0), figures.frames - 1) + 0.5) / figures.fps;
  left.currentTime = right.currentTime = time;
}

function show() {
  if (!figures) return;
  if (!left.paused && Math.abs(right.currentTime - left.currentTime) > 0.5 / figures.fps && !right.seeking)
    right.currentTime = left.currentTime;
  timeline.value = frame();
  find('.clock').textContent = `${left.currentTime.toFixed(2)} s · frame ${frame()}`;
  element.querySelectorAll('.cursor').forEach(line => {
    const at = 100 * left.currentTime * figures.fps / figures.frames;
    line.setAttribute('x1', at); line.setAttribute('x2', at);
  });
  if (!find('.difference').hidden) drawDifference();
}

function drawDifference() {
  const width = Math.max(left.videoWidth, right.videoWidth), height = Math.max(left.videoHeight, right.videoHeight);
  if (canvas.width !== width) canvas.width = width; // each time, it would be made anew
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext('2d');
  pen.globalCompositeOperation = 'copy';
  pen.drawImage(left, 0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = 'difference';
  pen.drawImage(right, 0, 0, canvas.width, canvas.height);
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
  find('.empty').hidden = true;
  find('.controls').hidden = find('table').hidden = false;
  figures.sides.forEach((side, i) => element.querySelectorAll('figcaption')[i].textContent = side.title);
  left.src = figures.left; right.src = figures.right;
  timeline.max = figures.frames - 1;
  find('.plots').innerHTML = Object.keys(PLOTS).map(plot).join('');
  find('tbody').innerHTML = Object.entries(ROWS).map(([name, text]) =>
    `<tr><th>${text}</th>${figures.sides.map(side => `<td>${side[name] ?? '–'}</td>`).join('')}</tr>`).join('');
  show();
}

function toggle() {
  if (!left.paused) { left.pause(); right.pause(); return; }
  if (frame() >= figures.frames - 1) seek(0);
  right.currentTime = left.currentTime;
  left.play(); right.play();
}

function step(by) { left.pause(); right.pause(); seek(frame() + by); }

find('.play').onclick = toggle;
find('.back').onclick = () => step(-1);
find('.forth').onclick = () => step(1);
timeline.oninput = () => { left.pause(); right.pause(); seek(Number(timeline.value)); };
find('.show-difference').onchange = event => { find('.difference').hidden = !event.target.checked; show(); };
for (const name of ['play', 'pause', 'ended']) left.addEventListener(name, () => {
  find('.play').textContent = left.paused ? '▶' : '❚❚';
  find('.play').setAttribute('aria-label', left.paused ? 'Play' : 'Pause');
});
left.addEventListener('ended', () => right.pause());
for (const video of [left, right]) for (const name of ['seeked', 'loadeddata']) video.addEventListener(name, show);
(function tick() { if (figures && !left.paused) show(); requestAnimationFrame(tick); })();
watch('value', () => { if (props.value?.left) { figures = props.value; fill(); } });
