// Goes live: sends the microphone's sound over a WebSocket, and plays the pieces of video that come back over it. The
// sound is WebAudio's, whose clock all goes by; pictures are decoded one by one and drawn when their sound is heard.
const find = name => element.querySelector(name);
const RATE = 16000; // samples a second, of what is sent and what comes
const BLOCK = 640; // samples that are sent at a time, 0.04 s
const LEAST = 0.06, MOST = 0.5; // seconds of sound that are to wait when more comes, where all goes well and where not
const JUMP = 0.8; // seconds of sound that may wait at the most: what came late is left out then
const STALLED = 1.5; // seconds without anything after which that is said
const LATE = 4; // seconds of lag that are spoken of
const ALLOWED = 0.06, ALLOWED_WHOLE = 0.12; // how much faster than real time it may play to catch up
const canvas = find('canvas'), pen = canvas.getContext('2d', {alpha: false});
const text = new TextDecoder();
const OTHERWISE = 'Or press “Play your text or recording”.';
const MICROPHONE = { // what to do where the browser gives no sound
  NotAllowedError: 'This page may not use the microphone. Allow it in the browser, beside the address, and press Record again.',
  NotFoundError: 'There is no microphone. Connect one and press Record again.',
  NotReadableError: 'The microphone cannot be used now. Close other programs that use it and press Record again.',
  TypeError: 'The browser gives the microphone only to pages that begin with https:// or are on this computer.',
};
const CAPTURE = `registerProcessor('capture', class extends AudioWorkletProcessor {
  constructor() { super(); this.size = BLOCK * Math.round(sampleRate / RATE); this.next(); }
  next() { this.block = new Int16Array(this.size); this.filled = 0; }
  process([[sound]]) {
    for (const value of sound ?? []) {
      this.block[this.filled++] = 32767 * Math.max(-1, Math.min(1, value));
      if (this.filled < this.size) continue;
      this.port.postMessage(this.block.buffer, [this.block.buffer]);
      this.next();
    }
    return true;
  }
});`.replaceAll('BLOCK', BLOCK).replaceAll('RATE', RATE);
let context = null; // the one for playing; made by a click, as browsers want
let live = null; // the stream that runs, if one does

class Pictures { // decodes, and draws the picture of a moment
  constructor() {
    this.ready = []; this.codec = ''; this.floor = -1;
    this.decoder = null;
  }
  put(head, packets) {
    const step = head.seconds / Math.max(packets.length, 1);
    packets.forEach(([data, key], number) => this.decode(head, data, key, head.start + number * step));
  }
  decode(head, data, key, time) {
    if (head.codec === 'jpeg') {
      createImageBitmap(new Blob([data], {type: 'image/jpeg'})).then(image => this.keep(time, image));
      return;
    }
    if (!this.decoder || this.decoder.state === 'closed') {
      this.codec = '';
      this.decoder = new VideoDecoder({output: frame => this.keep(frame.timestamp / 1e6, frame), error: () => {}});
    }
    const codec = head.codec + head.size;
    if (codec !== this.codec) {
      if (!key) return; // after an error, until a picture that stands alone
      this.decoder.configure({codec: head.codec, codedWidth: head.size[0], codedHeight: head.size[1], optimizeForLatency: true});
      this.codec = codec;
    }
    this.decoder.decode(new EncodedVideoChunk({type: key ? 'key' : 'delta', timestamp: Math.round(time * 1e6), data}));
  }
  keep(time, image) {
    if (time < this.floor || !live) return image.close();
    this.ready.push({time, image});
    this.ready.sort((one, other) => one.time - other.time);
  }
  draw(time) { // returns the time of the next picture, if it is there
    this.floor = Math.max(this.floor, time - 0.2);
    let shown = null;
    while (this.ready.length && this.ready[0].time <= time + 0.002) {
      shown?.close();
      shown = this.ready.shift().image;
    }
    if (shown) {
      const width = shown.displayWidth ?? shown.width, height = shown.displayHeight ?? shown.height;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
      pen.drawImage(shown, 0, 0);
      shown.close();
      find('.screen').classList.add('shows');
    }
    return this.ready[0]?.time;
  }
  close() {
    for (const {image} of this.ready) image.close();
    this.ready = [];
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close();
  }
}

class Player { // plays pieces as they come, a little after they came
  constructor() {
    this.pictures = new Pictures(); this.spans = []; this.slack = [];
    this.edge = 0; this.cushion = LEAST; this.begun = false; this.quickest = Infinity;
    this.timer = setTimeout(() => this.tick(), 20);
  }
  put(head, packets, sound) {
    this.pictures.put(head, packets);
    if (!sound.length) return;
    const now = context.currentTime, slack = this.edge - now;
    const way = performance.now() / 1000 - head.sent; // by two clocks, which differ by what the quickest piece tells
    this.quickest = Math.min(this.quickest, way);
    if (slack < 0.005) { // it came too late, or is the first
      if (this.begun) this.cushion = Math.min(this.cushion + 0.03, MOST);
      this.edge = now + this.cushion;
      this.slack = [];
    } else if (slack > JUMP && !head.whole) {
      for (const span of this.spans) span.source.stop();
      this.spans = [];
      this.edge = now + this.cushion;
      this.slack = [];
      this.pictures.floor = head.start;
    } else {
      this.slack = [...this.slack.slice(-11), slack];
      this.cushion = Math.max(this.cushion - 0.001, LEAST);
    }
    this.begun = true;
    const spare = Math.min(...this.slack, 10) - this.cushion;
    const speed = this.slack.length > 5 && spare > 0.03 ? 1 + Math.min(spare / 3, head.whole ? ALLOWED_WHOLE : ALLOWED) : 1;
    const buffer = new AudioBuffer({length: sound.length, sampleRate: RATE});
    const samples = buffer.getChannelData(0);
    for (let i = 0; i < sound.length; i++) samples[i] = sound[i] / 32768;
    const source = new AudioBufferSourceNode(context, {buffer, playbackRate: speed});
    source.connect(context.destination);
    const at = Math.round(this.edge * RATE) / RATE; // between samples it would be resampled
    source.start(at);
    this.edge = at + head.seconds / speed;
    const lag = head.age + way - this.quickest + at - now + this.delay();
    this.spans.push({from: head.start, at, until: this.edge, speed, source, lag});
  }
  delay() {
    return context.outputLatency || 0;
  }
  tick() {
    const heard = context.currentTime - this.delay();
    while (this.spans.length && this.spans[0].until <= heard) this.spans.shift();
    const span = this.spans[0];
    let wait = 0.02;
    if (span && span.at <= heard) {
      const time = span.from + (heard - span.at) * span.speed;
      canvas.time = time;
      this.lag = span.lag;
      const next = this.pictures.draw(time);
      if (next !== undefined) wait = (next - time) / span.speed;
    }
    this.timer = setTimeout(() => this.tick(), 1000 * Math.min(Math.max(wait, 0.004), 0.04));
  }
  get over() {
    return context.currentTime - this.delay() >= this.edge;
  }
  close() {
    clearTimeout(this.timer);
    for (const span of this.spans) span.source.stop();
    this.pictures.close();
  }
}

function say(words, trouble = false) {
  const state = find('.state');
  state.classList.toggle('trouble', trouble);
  if (state.textContent !== words) state.textContent = words; // or screen readers repeat it
}

function show(name, value) {
  if (find(name).textContent !== value) find(name).textContent = value;
}

function unpack(buffer) {
  const view = new DataView(buffer), length = view.getUint32(0, true);
  const head = JSON.parse(text.decode(new Uint8Array(buffer, 4, length)));
  if (4 + length === buffer.byteLength) return [head, [], new Int16Array(0)];
  let at = 4 + length + 2;
  const count = view.getUint16(at - 2, true), sizes = [], packets = [];
  for (let i = 0; i < count; i++, at += 5) sizes.push([view.getUint32(at, true), view.getUint8(at + 4)]);
  for (const [size, key] of sizes) {
    packets.push([new Uint8Array(buffer, at, size), key]);
    at += size;
  }
  return [head, packets, new Int16Array(buffer.slice(at))];
}

class Live {
  constructor() {
    this.name = [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');
    this.waits = 'Connecting …'; this.said = ''; this.last = performance.now(); this.finished = false;
  }
  async open() {
    const root = new URL((window.gradio_config?.root ?? location.href).replace(/\/?$/, '/'), location.href);
    const address = new URL('PATH', root);
    address.protocol = location.protocol.replace('http', 'ws');
    address.search = '?name=' + this.name;
    this.socket = new WebSocket(address);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onmessage = event => live === this && this.take(...unpack(event.data));
    this.socket.onclose = () => live === this && !this.finished && stop('The connection was lost. Press Record to begin again.', true);
    await new Promise(resolve => { this.socket.onopen = resolve; });
    this.player = new Player();
    this.timer = setInterval(() => this.report(), 500);
  }
  async listen(sound) { // to the microphone
    this.sound = sound;
    [this.track] = sound.getAudioTracks();
    this.track.onended = () => {
      this.tell({ended: true});
      this.unplugged = true;
    };
    try { // at the rate that is wanted the browser resamples; Firefox cannot
      this.source = new MediaStreamAudioSourceNode(context, {mediaStream: sound});
      this.ears = context;
    } catch {
      this.ears = this.own = new AudioContext();
      this.source = new MediaStreamAudioSourceNode(this.ears, {mediaStream: sound});
    }
    this.tell({rate: this.ears.sampleRate});
    const module = URL.createObjectURL(new Blob([CAPTURE], {type: 'text/javascript'}));
    await this.ears.audioWorklet.addModule(module);
    URL.revokeObjectURL(module);
    const ear = new AudioWorkletNode(this.ears, 'capture', {numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit'});
    ear.port.onmessage = event => this.socket.readyState === 1 && this.socket.send(event.data);
    this.source.connect(ear);
  }
  tell(what) {
    if (this.socket.readyState === 1) this.socket.send(JSON.stringify(what));
  }
  take(head, packets, sound) {
    this.last = performance.now();
    if (head.trouble) return stop(head.trouble, true);
    if (!('steps' in head)) {
      this.waits = head.state;
      return this.report();
    }
    this.said = head.state;
    this.finished = head.ended;
    show('.steps', String(head.steps));
    show('.skipped', head.skipped.toFixed(1));
    this.player.put(head, packets, sound);
  }
  report() { // what one reads
    const {player} = this;
    if (this.finished) {
      if (!player.over) return say('Live.');
      return this.unplugged ? withoutMicrophone('The microphone was unplugged. Connect it and press Record again.') : stop(this.said);
    }
    if (performance.now() - this.last > 1000 * STALLED && player.begun) return say('The connection has stalled: waiting for it …');
    if (player.begun && player.lag !== undefined) show('.lag', player.lag.toFixed(1));
    if (!canvas.time) return say(this.waits); // what is on its way is not live yet
    say(player.lag > LATE ? 'It comes late: this device, the network or the server is busy.' : this.said);
  }
  close() {
    clearInterval(this.timer);
    this.sound?.getTracks().forEach(track => { track.onended = null; track.stop(); });
    this.source?.disconnect();
    this.own?.close();
    this.socket?.close();
    this.player?.close();
  }
}

function buttons(running) {
  find('.record').disabled = running;
  find('.stop').disabled = !running;
  const play = document.querySelector('#live-play');
  if (play) play.disabled = running;
}

function stop(words, trouble = false) { // at once: what is on its way is not played either
  const stopped = live;
  live = null;
  stopped?.close();
  context?.suspend();
  buttons(false);
  say(words, trouble);
}

function withoutMicrophone(words) { // says so, and leads to what goes without
  stop(`${words} ${OTHERWISE}`, true);
  document.querySelector('#live-play')?.scrollIntoView({block: 'nearest', behavior: 'smooth'});
}

async function decodable() {
  try { // in a browser, or a page, without WebCodecs this throws
    const asked = {codec: 'avc1.64001f', codedWidth: 512, codedHeight: 512};
    return (await VideoDecoder.isConfigSupported(asked)).supported ? 'h264' : 'jpeg';
  } catch {
    return 'jpeg';
  }
}

async function begin(ask) {
  if (live) return;
  context ??= new AudioContext({sampleRate: RATE, latencyHint: 'interactive'});
  context.resume();
  for (const name of ['.lag', '.steps', '.skipped']) show(name, '–');
  const mine = live = new Live();
  canvas.time = 0;
  buttons(true);
  say(mine.waits);
  let sound = null;
  try {
    sound = ask && await navigator.mediaDevices.getUserMedia({audio: true}); // without mediaDevices it rejects too
  } catch (error) {
    if (live === mine) withoutMicrophone(MICROPHONE[error.name] ?? `The microphone gives no sound: ${error.message}.`);
    return;
  }
  const [pictures] = await Promise.all([decodable(), mine.open()]);
  if (live !== mine) return sound?.getTracks().forEach(track => track.stop()); // stopped meanwhile
  const {name} = mine;
  if (sound) trigger('talk', {name, pictures}); // the server makes the portrait ready while the microphone begins
  else trigger('recite', {name, pictures});
  if (sound) await mine.listen(sound);
}

find('.record').addEventListener('click', () => begin(true));
find('.stop').addEventListener('click', () => stop('Stopped. Press Record to begin again.'));
document.addEventListener('click', event => {
  if (event.target.closest?.('#live-play')) begin(false);
});
