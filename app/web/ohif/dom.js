// Creating elements, and updating only what has changed, so that focus and selection are preserved.

/** `el('button', {class: 'main', onclick: f}, 'Text')`; text is always text, never markup. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) {
      node.addEventListener(name.slice(2), value);
    } else {
      node.setAttribute(name, value);
    }
  }
  node.append(...children);
  return node;
}

export const row = (...children) => el('div', { class: 'segloop-row' }, ...children);
export const field = (text, input) => el('label', {}, text, input);
export const section = (title, ...children) =>
  el('section', { 'aria-label': title }, el('h2', {}, title), ...children);

/** `name` is what a test and a key know it by; `key` is said in its hint. */
export function button(name, text, onclick, { key, ...more } = {}) {
  const hint = key ? { title: `${text} (${key})`, 'aria-keyshortcuts': key } : {};
  return el('button', { type: 'button', 'data-segloop': name, onclick, ...hint, ...more }, text);
}

export const select = (name, choose, more = {}) =>
  el('select', { 'data-segloop': name, onchange: event => choose(event.target.value), ...more });

export function setText(node, text) {
  if (node.textContent !== text) {
    node.textContent = text;
  }
}

/** A select for `[value, text]` pairs. */
export function setOptions(select, pairs, value) {
  const key = JSON.stringify(pairs);
  if (select.dataset.options !== key) {
    select.dataset.options = key;
    select.replaceChildren(...pairs.map(([one, text]) => el('option', { value: one }, text)));
  }
  select.value = value;
  select.disabled = pairs.length === 0;
}

/** Children made anew only when what they are made of has changed. Focus goes to the button that is where it was. */
export function setChildren(node, of, make) {
  const key = JSON.stringify(of);
  if (node.dataset.of === key) {
    return;
  }
  node.dataset.of = key;
  const buttons = () => [...node.querySelectorAll('button')];
  const focused = buttons().indexOf(document.activeElement);
  node.replaceChildren(...of.map(make));
  buttons()[focused]?.focus({ preventScroll: true });
}
