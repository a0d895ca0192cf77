import { type BigIntStats, existsSync, mkdirSync, renameSync, statSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasCode } from "../base/errors.ts";
import { type Fetch, serverOptions } from "./http-server.ts";

/** Who may connect to a socket: `owner` is mode 0600, `umask` what the process's umask leaves. */
export type SocketAccess = "owner" | "umask";

/**
 * Serves HTTP at a unix socket; the directory of one that is for its owner alone is made if need be. A socket that a
 * killed program left is replaced, one at which a living one answers is left alone.
 * @returns what ends it, and the connections too, and removes the socket unless another one is there by then
 * @throws Error that says what is in the way
 */
export async function serveSocket(path: string, fetch: Fetch, access: SocketAccess): Promise<() => Promise<void>> {
  const folder = dirname(path);
  if (access === "owner" && !existsSync(folder)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const dead = await deadSocket(path);
  // Bun removes the name that it was given when it stops, whoever's that is by then: so it gets one of its own.
  const name = join(folder, `.${crypto.randomUUID().slice(0, 8)}`);
  const server = bindSocket(name, fetch, access);
  const own = statsOf(name);
  try {
    if (statsOf(path) !== undefined && !sameFile(dead, statsOf(path))) throw new Error(`${path} was just taken`);
    renameSync(name, path);
  } catch (error) {
    await server.stop(true);
    throw error;
  }
  return async () => {
    if (sameFile(own, statsOf(path))) unlinkSync(path);
    await server.stop(true);
  };
}

/** The socket is there with its mode at once: at no time could others connect. */
function bindSocket(path: string, fetch: Fetch, access: SocketAccess): Bun.Server<undefined> {
  // Bun heeds idleTimeout at unix sockets, too; its types leave that out.
  const common: Omit<ReturnType<typeof serverOptions>, "idleTimeout"> = serverOptions(fetch);
  const options = { ...common, unix: path };
  if (access === "umask") return Bun.serve(options);
  const umask = process.umask(0o177);
  try {
    return Bun.serve(options);
  } finally {
    process.umask(umask);
  }
}

/** The socket that may be replaced, if there is one. */
async function deadSocket(path: string): Promise<BigIntStats | undefined> {
  const found = statsOf(path);
  if (found === undefined) return undefined;
  if (!found.isSocket()) throw new Error(`${path} is there and is no socket`);
  if (await isAnswered(path)) throw new Error(`${path} is in use by another program`);
  return found;
}

async function isAnswered(path: string): Promise<boolean> {
  try {
    const socket = await Bun.connect({ unix: path, socket: { data() {} } });
    socket.terminate();
    return true;
  } catch (error) {
    // Anything else, such as a queue that is full, means that somebody holds it.
    return !hasCode(error, "ECONNREFUSED", "ENOENT");
  }
}

function statsOf(path: string): BigIntStats | undefined {
  return statSync(path, { throwIfNoEntry: false, bigint: true });
}

/** Inode numbers are used again soon, times are not. */
function sameFile(a: BigIntStats | undefined, b: BigIntStats | undefined): boolean {
  return a !== undefined && b !== undefined && a.ino === b.ino && a.dev === b.dev && a.birthtimeNs === b.birthtimeNs;
}
