// Plays a stream whose pieces arrive as values: appends them to a MediaSource, keeps close to the newest, says the lag.
const find = name => element.querySelector(name);
const video = find('video'), Source = window.ManagedMediaSource ?? window.MediaSource;
const PLAYS = Source?.isTypeSupported('video/mp4; codecs="avc1.64001f, mp4a.40.2"');
const HEAD_START = 300; // milliseconds; the first piece is shorter than the time until the second
const LATE = 4; // seconds of lag that are spoken of
const SETTLE = 1000; // milliseconds after which nothing comes of a recording that was stopped
const LEAST = 0.2, MOST = 0.8; // seconds that are to be buffered at any time, where all goes well and where it does not
let run = null, stream = null, buffer = null, queue = [], next = 0, spoken = [], slack = [], stalled = 0, cushion = LEAST;
let said = '', lag = 0, playing = false, stopped = false;
let ended = -Infinity, asking = null, heard = false;
const MICROPHONE = { // what to do where the browser gives no sound
  NotAllowedError: 'This page may not use the microphone. Allow it in the browser, beside the address, and press Record again.',
  NotFoundError: 'There is no microphone. Connect one and press Record again.',
  NotReadableError: 'The microphone cannot be used now. Close other programs that use it and press Record again.',
  TypeError: 'The browser gives the microphone only to pages that begin with https:// or are on this computer.',
};

function begin(mime) {
  next = 0; queue = []; spoken = []; slack = []; buffer = null; stalled = 0; cushion = LEAST;
  video.disableRemotePlayback = true; // without it ManagedMediaSource does not open
  stream = new Source();
  const opened = stream;
  opened.addEventListener('sourceopen', () => {
    buffer = opened.addSourceBuffer(mime);
    buffer.addEventListener('updateend', feed);
    feed();
  }, {once: true});
  video.src = URL.createObjectURL(opened);
  setTimeout(() => stopped || video.play().catch(askToPlay), HEAD_START);
}

function halt() { // what is buffered is not played either
  queue = []; lag = 0; playing = false;
  video.pause();
  document.querySelector('#live-film video')?.pause();
}

function askToPlay() { // some browsers play sound only after a click on the video itself
  if (stopped) return;
  video.controls = true;
  said = 'Press play in the picture.';
  say();
}

function feed() {
  if (!buffer || buffer.updating || stream.readyState !== 'open') return;
  const piece = queue.shift();
  if (piece === null) stream.endOfStream();
  else if (piece) buffer.appendBuffer(piece);
}

function say() {
  const text = lag > LATE ? 'It comes late: this device, the network or the server is busy.' : said;
  if (find('.state').textContent !== text) find('.state').textContent = text; // or screen readers repeat it
}

function take(value) {
  if ('stopped' in value) stopped = value.stopped;
  else if (stopped) return; // it was on its way when the visitor stopped
  if (stopped) halt();
  find('.state').classList.remove('trouble');
  said = value.state ?? said;
  playing = 'steps' in value && !value.ended;
  if (!playing) lag = 0;
  say();
  if ('steps' in value) {
    find('.steps').textContent = value.steps;
    find('.skipped').textContent = value.skipped.toFixed(1);
  }
  if (!value.pieces) return; // they are in the film
  if (value.run !== run) {
    run = value.run;
    begin(value.mime);
  }
  for (const piece of value.pieces) {
    if (piece.number < next) continue;
    next = piece.number + 1;
    queue.push(Uint8Array.from(atob(piece.data), letter => letter.charCodeAt(0)));
    spoken.push([piece.start, performance.now() / 1000 - value.age - (value.start - piece.start)]);
  }
  if (value.ended) queue.push(null);
  feed();
}

function keepUp() {
  if (!spoken.length || video.paused || !video.buffered.length) return;
  const ranges = video.buffered, end = ranges.end(ranges.length - 1), start = ranges.start(ranges.length - 1);
  if (video.currentTime < start) video.currentTime = start; // a piece was lost on the way
  const time = video.currentTime;
  slack = [...slack.slice(-7), end - time];
  const spare = Math.min(...slack);
  // Once dry, Chrome waits for more and more before it plays on, up to 3 s; moving the position forgets that.
  stalled = video.readyState < 3 ? stalled + 1 : 0;
  cushion = stalled === 1 ? Math.min(cushion + 0.1, MOST) : Math.max(cushion - 0.001, LEAST);
  if (spare > 1.5 || (stalled > 2 && end - time > cushion)) {
    video.currentTime = Math.max(end - cushion, time + 0.01);
    slack = [];
    stalled = 0;
  }
  video.playbackRate = 1 + Math.min(Math.max(spare - cushion, 0) / 2, 0.25);
  const [from, moment] = spoken.findLast(([from]) => from <= time) ?? spoken[0];
  if (!playing) return;
  lag = performance.now() / 1000 - moment - (time - from);
  find('.lag').textContent = lag.toFixed(1);
  say();
}

// Gradio's recorder goes ahead before it may record, and the stream then waits for sound in vain: so the microphone is
// asked for here first. It also takes the last sound of the recording before, if that comes late, for the header of the
// next, and then hears nothing: so the next one waits for it.
document.addEventListener('click', event => {
  const button = event.target.closest?.('#live-microphone button');
  if (button && !button.matches('.record-button')) {
    ended = performance.now();
    take({stopped: true, state: 'Stopping …'}); // at once, though the request may wait behind sound that is sent slowly
  }
  if (!button?.matches('.record-button') || heard) return;
  event.stopPropagation();
  if (!asking) asking = askToHear().then(sound => record(button, sound)).catch(explain).finally(() => { asking = null; });
}, {capture: true});

function record(button, sound) {
  heard = true;
  button.click();
  heard = false;
  sound.getTracks().forEach(track => track.stop()); // the recorder has asked for its own by now
}

async function askToHear() { // without mediaDevices it rejects too
  await new Promise(resolve => setTimeout(resolve, ended + SETTLE - performance.now()));
  return navigator.mediaDevices.getUserMedia({audio: true});
}

function explain(error) {
  said = MICROPHONE[error.name] ?? `The microphone gives no sound: ${error.message}.`;
  find('.state').classList.add('trouble');
  say();
}

find('.screen').hidden = !PLAYS; // the server then makes a film instead, which plays a few seconds later
watch('value', () => { if (props.value) take(props.value); });
setInterval(keepUp, 100);
