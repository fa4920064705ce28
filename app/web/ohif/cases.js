// The server's case of a series that the viewer shows.

import { Grid } from './geometry.js';

const NOT_FOUND = 404;
const UNUSABLE = 422;

/** `{id, info, grid, slices}`: what the server says about it, its voxel grid, and which image is which slice. Throws an
 * Error with a sentence for a series that cannot be labelled. */
export async function readCase(api, series) {
  try {
    const [info, geometry] = await Promise.all([api.oneCase(series), api.geometry(series)]);
    return { id: series, info, grid: new Grid(geometry), slices: geometry.slices };
  } catch (error) {
    if (error.status === NOT_FOUND) {
      throw new Error('This series is no case of this server. If it has just come, the server has yet to find it.');
    }
    throw error.status === UNUSABLE ? new Error(`This series cannot be labelled: ${error.message}`) : error;
  }
}
