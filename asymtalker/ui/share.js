// Copies the link to a video's settings without leaving the page; sends the video itself where the device can.
const video = () => document.querySelector('#video video');

function prepare() {
  const send = element.querySelector('[data-share="file"]');
  if (send) send.hidden = !navigator.canShare?.({files: [new File([''], 'video.mp4', {type: 'video/mp4'})]});
}

function say(text) { element.querySelector('output').textContent = text; }

async function copyLink() {
  const link = new URL(props.value.link, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    say('Copied. Whoever opens it needs the same portrait and voice.');
  } catch { // not on a page without https
    prompt('Copy this link:', link);
  }
}

async function sendFile() {
  const content = await (await fetch(video().src)).blob(), name = decodeURI(video().src.split('/').at(-1));
  await navigator.share({files: [new File([content], name, {type: 'video/mp4'})]}).catch(error => {
    if (error.name !== 'AbortError') say('It could not be sent: download it instead.');
  });
}

element.addEventListener('click', event => {
  const kind = event.target.closest('[data-share]')?.dataset.share;
  if (kind === 'link') copyLink();
  if (kind === 'file') sendFile();
});
watch('value', prepare);
