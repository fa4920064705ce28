// The server's case of a series that the viewer shows.

import { Grid } from './geometry.js';

const NOT_FOUND = 404;
const UNUSABLE = 422;

/** `{id, series, info, grid, slices}`: its id, which of a volume file isn't that of the series, what the server says
 * about it, its voxel grid, and which image is which slice. Throws an Error with a sentence for a series that cannot be
 * labelled. */
export async function readCase(api, series) {
  try {
    const info = await api.oneCase(series);
    const geometry = await api.geometry(info.id);
    return { id: info.id, series, info, grid: new Grid(geometry), slices: geometry.slices };
  } catch (error) {
    if (error.status === NOT_FOUND) {
      throw new Error('This series is no case of this server. If it has just come, the server has yet to find it.');
    }
    throw error.status === UNUSABLE ? new Error(`This series cannot be labelled: ${error.message}`) : error;
  }
}

/** Who it is of, `nobody` if the archive doesn't say. A volume file names no patient, and goes by its own name. */
export const nameOf = ({ kind, id, patient_id: patient }, nobody) => patient || (kind === 'file' ? id : nobody);
