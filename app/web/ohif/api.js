// The server's native API, as this page uses it. Errors come out as `ApiError` with a sentence for the annotator.

import { fromBase64, gunzip, gzip, packBits, toBase64 } from './masks.js';

const ROOT = new URL('../../api/v1/', import.meta.url);
const NOTHING = 204;
const SOON = 30;

export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
  }
}

/** The advice for a missing or invalid response. */
function advice(status, detail, retryAfter) {
  if (status === 401 || status === 403) {
    return 'The server does not let this page in. Open it again at the address you were given, with its token.';
  }
  const text = sentence(detail || `The server answered with status ${status}`);
  if (status === 503 && Number(retryAfter) <= SOON) {
    return `${text} Try again in ${retryAfter || 'a few'} seconds.`;
  }
  return status === 500 ? `${text} If it happens again, show this to whoever runs the server.` : text;
}

const sentence = text => (/[.!?]$/.test(text) ? text : `${text}.`);

export class Api {
  /** `person()` gives the annotator's name, "" if they gave none. */
  constructor(person) {
    this.person = person;
  }

  server = () => this.#json('GET', 'server');
  oneCase = id => this.#json('GET', `cases/${part(id)}`);
  geometry = id => this.#json('GET', `cases/${part(id)}/geometry`);
  labels = id => this.#json('GET', `cases/${part(id)}/labels`);
  next = strategy => this.#json('POST', 'next', { strategy, dicomweb: true });
  release = id => this.#json('POST', `cases/${part(id)}/release`);

  openSession = (caseId, model, structure) =>
    this.#json('POST', 'sessions', { case_id: caseId, model, structure });
  closeSession = id => this.#json('DELETE', `sessions/${part(id)}`);

  /** Each gives `{region, voxels}`: the changed box and a byte 0/1 for each of its voxels; region null if nothing is
   * new; and `said` of the structure, and how many steps can be undone and made again. Steps of one `batch` are undone
   * together. `start` takes a mask from `{model}` or `{label_id}`, one `structure` of it. `undo` and `redo` also say whether
   * there was anything to undo (`undone`), or to make again (`redone`). */
  prompts = (id, prompts, batch) => this.#step(id, 'prompts', { prompts, batch });
  start = (id, source) => this.#step(id, 'start', source);
  edit = (id, box) => this.#step(id, 'edit', box);
  say = (id, said) => this.#step(id, 'say', said);
  undo = id => this.#step(id, 'undo');
  redo = id => this.#step(id, 'redo');

  /** Flush every step so far to the server's disk. */
  flush = id => this.#json('POST', `sessions/${part(id)}/flush`);

  /** The caller's own unfinished sessions of a case, `{used, parts}`; null if there are none. */
  draft = caseId => this.#json('POST', `cases/${part(caseId)}/draft`);

  /** A byte 0/1 for each voxel of the whole volume. */
  async sessionMask(id) {
    const answer = await this.#fetched('GET', `sessions/${part(id)}/mask`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  /** Whole volumes in (k, j, i): `{labels: {name: number}, voxels}`. */
  async segment(caseId, model) {
    const { labels, voxels } = await this.#json('POST', `cases/${part(caseId)}/segment`, { model });
    return { labels, voxels: await gunzip(fromBase64(voxels)) };
  }

  async labelVoxels(id) {
    const { structures, voxels } = await this.#json('GET', `labels/${part(id)}/voxels`);
    return { structures, voxels: await gunzip(fromBase64(voxels)) };
  }

  /** Store a label version: a byte per voxel in (k, j, i), n for the n-th of `structures`; those `absent` were looked
   * for. `sessions` are the ids of those in which it was drawn. */
  async submit(caseId, voxels, { structures, absent, comment, model, sessions }) {
    const form = new FormData();
    form.append('meta', JSON.stringify({ structures, absent, comment, model, tag: 'final', sessions }));
    form.append('voxels', new Blob([await gzip(voxels)], { type: 'application/gzip' }), 'voxels.gz');
    return this.#json('POST', `cases/${part(caseId)}/labels`, form);
  }

  train = model => this.#json('POST', 'jobs', { kind: 'train', model });
  stopJob = id => this.#json('DELETE', `jobs/${part(id)}`);

  /** Call `handlers[name](data)` for the server's events, until the returned function is called. */
  events(handlers) {
    const source = new EventSource(new URL('events', ROOT));
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, event => handle(event.data === undefined ? null : JSON.parse(event.data)));
    }
    return () => source.close();
  }

  async #step(id, name, body) {
    return unpacked(await this.#json('POST', `sessions/${part(id)}/${name}`, body));
  }

  async #json(method, path, body) {
    const answer = await this.#fetched(method, path, body);
    return answer.status === NOTHING || answer.headers.get('content-length') === '0' ? null : answer.json();
  }

  async #fetched(method, path, body) {
    const form = body instanceof FormData;
    const headers = { 'X-Segloop-Client': 'OHIF' };
    const person = this.person();
    if (person) {
      headers['X-Segloop-User'] = encodeURIComponent(person);
    }
    if (body !== undefined && !form) {
      headers['Content-Type'] = 'application/json';
    }
    let answer;
    try {
      answer = await fetch(new URL(path, ROOT), { method, headers, body: form ? body : body && JSON.stringify(body) });
    } catch {
      throw new ApiError('The server does not answer. Check the connection; what you see here is not lost.');
    }
    if (!answer.ok) {
      throw new ApiError(advice(answer.status, await detail(answer), answer.headers.get('retry-after')), answer.status);
    }
    return answer;
  }
}

/** Encode a box of voxels or a whole volume for a prompt. */
export const packed = voxels => toBase64(packBits(voxels));

const part = id => encodeURIComponent(id);

async function unpacked(change) {
  return { ...change, voxels: change.voxels ? await gunzip(fromBase64(change.voxels)) : null };
}

async function detail(answer) {
  try {
    const { detail: text } = await answer.json();
    return typeof text === 'string' ? text : JSON.stringify(text);
  } catch {
    return '';
  }
}
