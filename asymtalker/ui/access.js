// Names of Gradio's own controls that screen readers would hear wrongly, whenever they appear on the page.
const NAMES = [
  ['button.upload-container[aria-label]', it => it.removeAttribute('aria-label')], // says other words than the button shows
  ['button.playback[aria-label]', it => it.removeAttribute('aria-label')],
  ['div.empty[aria-label]:not([role])', it => it.setAttribute('role', 'img')],
];
const name = () => NAMES.forEach(([which, change]) => document.querySelectorAll(which).forEach(change));
new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
name();
