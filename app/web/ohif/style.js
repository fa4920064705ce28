// The panel's styles: OHIF's own CSS variables for colours, with fallback values.

export const STYLE = `
.segloop { height: 100%; overflow-y: auto; color: hsl(var(--foreground, 0 0% 98%)); font-size: 13px; line-height: 1.4; }
.segloop section { padding: 8px 10px; border-bottom: 1px solid hsl(var(--border, 217 40% 26%)); }
.segloop h2 { font-size: 11px; font-weight: 600; letter-spacing: .06em; text-transform: uppercase; margin: 0 0 6px; opacity: .75; }
.segloop .segloop-row { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 4px 0; }
.segloop label { display: block; font-size: 12px; margin-top: 4px; }
.segloop .segloop-beside { flex-wrap: nowrap; }
.segloop .segloop-beside label { margin: 0; }
.segloop .segloop-beside button { flex: 0 0 auto; }
.segloop select, .segloop input[type=text], .segloop textarea { box-sizing: border-box; width: 100%; padding: 3px 6px; color: inherit;
  background: hsl(var(--input, 218 60% 10%)); border: 1px solid hsl(var(--border, 217 40% 35%)); border-radius: 4px; font: inherit; }
.segloop .segloop-beside select { flex: 1 1 0; min-width: 0; }
.segloop select option { color: #fff; background: #0b1a42; }
.segloop button { flex: 1 1 auto; padding: 4px 8px; color: inherit; background: hsl(var(--secondary, 214 66% 28%));
  border: 1px solid hsl(var(--border, 217 40% 35%)); border-radius: 4px; font: inherit; cursor: pointer; }
.segloop button:hover:not(:disabled) { border-color: #8dbdff; }
.segloop button:disabled { opacity: .4; cursor: not-allowed; }
.segloop button[aria-pressed=true], .segloop button[aria-checked=true] { background: #1f6fe5; border-color: #8dbdff; color: #fff; }
.segloop button.segloop-main { background: #1c7a3d; color: #fff; }
.segloop button.segloop-exclude[aria-checked=true] { background: #b3261e; border-color: #ffb4ab; }
.segloop :focus-visible { outline: 2px solid #8dbdff; outline-offset: 1px; }
.segloop progress { width: 100%; height: 8px; accent-color: #3fb565; color-scheme: dark; }
.segloop .segloop-status { position: sticky; top: 0; z-index: 1; min-height: 3.2em; padding: 6px 10px; background: hsl(var(--muted, 218 60% 14%));
  border-left: 4px solid #1f6fe5; }
.segloop .segloop-status.problem { border-left-color: #ff6b5e; background: #4a1512; color: #fff; }
.segloop .segloop-status.busy { border-left-color: #e5b11f; }
.segloop .segloop-swatch { display: inline-block; width: 10px; height: 10px; margin-right: 6px; border-radius: 2px; border: 1px solid #fff8; }
.segloop .segloop-structure { text-align: left; flex: 1 1 100%; }
.segloop .segloop-choice { display: flex; flex: 1 1 100%; gap: 4px; }
.segloop .segloop-choice .segloop-structure { flex: 1 1 auto; }
.segloop .segloop-state { flex: 0 0 8em; padding: 4px; font-size: 12px; background: none; }
.segloop .segloop-state:disabled { opacity: 1; border-color: transparent; }
.segloop .segloop-state[data-state=absent] { background: #5b4a00; border-color: #e5b11f; color: #fff; }
.segloop .segloop-state[data-state=guessed] { background: #1c7a3d; border-color: #8de0a6; color: #fff; }
.segloop .segloop-state[data-state=not_examined] { border-style: dashed; }
.segloop ol { list-style: none; margin: 0; padding: 0; }
.segloop li { display: flex; gap: 6px; align-items: baseline; padding: 3px 0; }
.segloop li span { flex: 1; }
.segloop li button { flex: 0 0 auto; padding: 2px 8px; min-height: 24px; }
.segloop small { opacity: .8; display: block; }
.segloop table { width: 100%; border-collapse: collapse; }
.segloop td { padding: 1px 4px 1px 0; vertical-align: top; }
.segloop kbd { font: 12px ui-monospace, monospace; padding: 0 4px; border: 1px solid hsl(var(--border, 217 40% 35%)); border-radius: 3px; white-space: nowrap; }
.segloop [hidden] { display: none; }
.segloop .segloop-unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.segloop summary { cursor: pointer; }
@media (pointer: coarse) {
  .segloop button, .segloop select, .segloop input[type=text], .segloop summary { min-height: 36px; }
}
`;
