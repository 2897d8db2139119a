// Each section: videos of one clip in step (the first one shown is the clock), its curves over time, and a choice of clips.
const CURVES = {
  identity: 'Identity: 0 is the portrait, 1 somebody else',
  geometry: 'Face geometry: 1 is somebody else',
  lab_distance: 'Colour: distance to the portrait, ΔE',
  sharpness_to_reference: 'Sharpness over the portrait’s',
  motion: 'Frame difference, levels of 255',
};
const WIDTH = 300, HEIGHT = 132, LEFT = 34, BOTTOM = 18;
const JUMP = 0.5; // seconds: a video that is further off is put where it belongs, a nearer one hurries or waits

const mean = rows => {
  const length = Math.max(...rows.map(row => row.length));
  return Array.from({length}, (_, i) => {
    const values = rows.map(row => row[i]).filter(value => value != null);
    return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
  });
};

// A line through the points of a curve, broken where it has a gap (null); a point between two gaps is a dot.
const path = (row, x, y) => row.map((value, i) => value == null ? '' :
  `${row[i - 1] == null ? 'M' : 'L'}${x(i).toFixed(1)},${y(value).toFixed(1)}${
    row[i - 1] == null && row[i + 1] == null ? 'h0' : ''}`).join('');

function chart(group, sides, name, seconds) {
  // sides: for each checkpoint, the real clips last, a curve a video
  const drawn = sides.map(rows => rows.filter(row => row.length));
  const top = Math.max(...drawn.flat(2), 1e-6) * 1.08;
  const x = i => LEFT + (WIDTH - LEFT) * Math.min((i + 0.5) * group.interval, seconds) / seconds;
  const y = value => (HEIGHT - BOTTOM) * (1 - value / top);
  const line = (row, side, kind) => `<path class="${kind} ${side === group.names.length ? 'real' : ''}"
    style="--colour: ${colour(group, side)}" d="${path(row, x, y)}"/>`;
  const lines = drawn.map((rows, side) => !rows.length ? '' :
    (rows.length > 1 ? rows.map(row => line(row, side, 'thin')).join('') : '') + line(mean(rows), side, 'curve'));
  const base = HEIGHT - BOTTOM;
  return `<figure><figcaption>${CURVES[name]}</figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${CURVES[name]}, over time">
      <line class="axis" x1="${LEFT}" x2="${WIDTH}" y1="${base}" y2="${base}"/>
      <line class="axis" x1="${LEFT}" x2="${WIDTH}" y1="${y(top / 1.08)}" y2="${y(top / 1.08)}"/>
      <text x="${LEFT - 5}" y="${base}" text-anchor="end">0</text>
      <text x="${LEFT - 5}" y="${y(top / 1.08) + 4}" text-anchor="end">${(top / 1.08).toPrecision(2)}</text>
      <text x="${LEFT}" y="${HEIGHT - 3}">0</text><text x="${WIDTH}" y="${HEIGHT - 3}" text-anchor="end">${Math.round(seconds)} s</text>
      ${lines.join('')}<line class="cursor" y1="0" y2="${base}" hidden/></svg></figure>`;
}

const colour = (group, side) => `var(--${group.colours[side] ?? 'real'})`;

function open(section, group) {
  const find = name => section.querySelector(name);
  const play = find('.play'), timeline = find('.timeline'), sound = find('.sound');
  let videos = [], seconds = 1;

  function seek(time) { for (const video of videos) video.currentTime = Math.min(time, video.duration || time); }

  function show() {
    const clock = videos[0];
    if (!clock) return;
    if (!clock.paused) videos.slice(1).forEach(follow);
    timeline.value = clock.currentTime;
    find('.clock').textContent = `${clock.currentTime.toFixed(1)} s of ${(clock.duration || 0).toFixed(1)} s`;
    const at = LEFT + (WIDTH - LEFT) * clock.currentTime / seconds;
    section.querySelectorAll('.cursor').forEach(line => {
      line.removeAttribute('hidden'); line.setAttribute('x1', at); line.setAttribute('x2', at);
    });
  }

  function follow(video) {
    const late = videos[0].currentTime - video.currentTime;
    if (video.ended || video.seeking) return;
    if (Math.abs(late) > JUMP) video.currentTime = videos[0].currentTime;
    else video.playbackRate = 1 + 2 * late * (Math.abs(late) > 0.01); // it is mute: nobody hears it
  }

  function tick() { show(); if (videos[0] && !videos[0].paused) requestAnimationFrame(tick); }

  function stop() { for (const video of videos) video.pause(); }

  function toggle() {
    const clock = videos[0];
    if (!clock.paused) { stop(); return; }
    seek(clock.ended ? 0 : clock.currentTime);
    for (const video of videos) video.play().catch(() => {}); // a video that is paused again before it plays
  }

  function label() { play.textContent = videos[0]?.paused === false ? 'Pause' : 'Play'; }

  function screens(clip) {
    stop();
    const films = clip ? [...clip.films, clip.real] : [];
    const shown = films.map((film, side) => ({film, side})).filter(({film}) => film);
    // rows of one length, of at most six
    find('.screens').style.setProperty('--columns', Math.ceil(shown.length / Math.ceil(shown.length / 6)) || 1);
    find('.screens').innerHTML = shown.map(({side}) => `<figure><video playsinline preload="metadata"></video>
      <figcaption class="dot" style="--colour: ${colour(group, side)}"></figcaption></figure>`).join('');
    section.querySelectorAll('.screens figcaption').forEach((caption, i) => {
      caption.textContent = group.names[shown[i].side] ?? 'Real clip';
    });
    videos = [...section.querySelectorAll('.screens video')];
    videos.forEach((video, i) => {
      video.muted = i > 0 || !sound.checked;
      video.setAttribute('aria-label', group.names[shown[i].side] ?? 'Real clip');
      video.src = shown[i].film;
      video.onseeked = show;
    });
    if (videos[0]) {
      videos[0].onloadedmetadata = () => { timeline.max = videos[0].duration; show(); };
      videos[0].onplay = () => { label(); tick(); };
      videos[0].onpause = label;
      videos[0].onended = stop;
    }
    find('.viewer').hidden = !videos.length;
    find('.no-films').hidden = videos.length > 0 || !clip;
    label();
  }

  function plots(clips) {
    const rows = (clip, side, name) => (side === group.names.length ? clip.real_curves : clip.curves[side])
      .map(curves => curves[name] ?? []).filter(row => row.length);
    const sides = [...group.names, null].map((_, side) => side);
    const names = Object.keys(CURVES).map(name => [name, sides.map(side => clips.length > 1
      ? [mean(clips.flatMap(clip => rows(clip, side, name))) ] // of all clips one line
      : clips.flatMap(clip => rows(clip, side, name)))]);
    seconds = Math.max(...clips.map(clip => clip.seconds));
    const long = names.filter(([, curves]) => curves.flat(2).length && seconds >= 1.5 * group.interval);
    find('.plots').innerHTML = long.map(([name, curves]) => chart(group, curves, name, seconds)).join('');
  }

  function choose() {
    const clip = group.clips[Number(find('select').value)];
    screens(clip);
    plots(clip ? [clip] : group.clips);
  }

  play.onclick = toggle;
  timeline.oninput = () => { stop(); seek(Number(timeline.value)); };
  sound.onchange = () => { if (videos[0]) videos[0].muted = !sound.checked; };
  find('select').onchange = choose;
  choose();
}

const groups = JSON.parse(document.getElementById('data').textContent);
document.querySelectorAll('section').forEach((section, i) => open(section, groups[i]));
