// Clicks on numbered faces, and a box that is dragged over the portrait. Lengths are shares of the picture's width.
const [LEAST_ZOOM, MOST_ZOOM] = ZOOMS, [LEAST_SHIFT, MOST_SHIFT] = SHIFTS;
const within = (value, low, high) => Math.min(Math.max(value, low), high);
let drag = null;

element.addEventListener('click', event => {
  const button = event.target.closest('button[data-face]');
  if (!button) return;
  for (const each of element.querySelectorAll('button[data-face]')) each.ariaPressed = String(each === button);
  trigger('select', {face: Number(button.dataset.face)});
});

element.addEventListener('pointerdown', event => {
  const stage = event.target.closest('.stage'), face = event.target.closest('button[data-face]');
  const box = stage?.querySelector('.box');
  if (!box || event.button || (face ? face.ariaPressed !== 'true' : !event.target.closest('.box'))) return;
  const {width, height} = stage.getBoundingClientRect();
  const place = {left: box.offsetLeft / width, top: box.offsetTop / width, side: box.offsetWidth / width};
  drag = {box, place, width, tall: height / width, x: event.clientX, y: event.clientY, resized: event.target.matches('i')};
  drag.base = box.dataset.base.split(' ').map(Number);
  stage.setPointerCapture(event.pointerId);
  event.preventDefault();
});

element.addEventListener('pointermove', event => {
  if (!drag) return;
  const {box, base, place, width, tall} = drag;
  const right = (event.clientX - drag.x) / width, down = (event.clientY - drag.y) / width;
  let {left, top, side} = place;
  if (drag.resized) {
    side = within(side + Math.max(right, down), base[2] / MOST_ZOOM, base[2] / LEAST_ZOOM);
    side = Math.min(side, 1 - left, tall - top);
  } else {
    left = within(left + right, 0, 1 - side);
    top = within(top + down, 0, tall - side);
  }
  const shift = (start, from) => within((start + side / 2 - from) / base[2] - 0.5, LEAST_SHIFT, MOST_SHIFT);
  const adjusted = [base[2] / side, shift(left, base[0]), shift(top, base[1])];
  drag.adjusted = adjusted.map(value => value.toFixed(2)).join(' ');
  Object.assign(box.style, {left: `${100 * left}%`, top: `${100 * top / tall}%`,
    width: `${100 * side}%`, height: `${100 * side / tall}%`});
});

function drop() {
  const adjusted = drag?.adjusted;
  drag = null;
  if (!adjusted) return; // it was a click
  element.dataset.dragged = adjusted;
  trigger('release');
}
element.addEventListener('pointerup', drop);
element.addEventListener('pointercancel', () => { drag = null; });
