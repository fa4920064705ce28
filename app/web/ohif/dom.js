// Making elements, and changing only what has changed, so that focus and selection stay where they are.

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

/** Children made anew only when what they are made of has changed. */
export function setChildren(node, of, make) {
  const key = JSON.stringify(of);
  if (node.dataset.of !== key) {
    node.dataset.of = key;
    node.replaceChildren(...of.map(make));
  }
}
