/** The network's configuration can't be used. The message names the file, the field, and what to do. */
export class NetConfError extends Error {
  override readonly name = "NetConfError";
}
