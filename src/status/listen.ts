import { backoffDelay, sleep } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { formatListenAddress, type ListenAddress } from "../config/listen-address.ts";
import { type Fetch, serverOptions } from "./http-server.ts";
import { type SocketAccess, serveSocket } from "./unix-socket.ts";

const log = logger("http");

export interface Listener {
  /** Ends the connections too. */
  stop(): Promise<void>;
}

/**
 * Serves HTTP at an address. While the address is taken (by the agent that this one replaces, which is about to end) it
 * is tried again: the data path does not wait for it.
 * @param flag named in messages
 * @param access of a unix socket
 */
export function listen(address: ListenAddress, fetch: Fetch, flag: string, access: SocketAccess = "umask"): Listener {
  const stopping = new AbortController();
  let end: (() => Promise<void>) | undefined;
  const run = async (): Promise<void> => {
    for (let attempt = 1; !stopping.signal.aborted; attempt++) {
      try {
        end = await serve(address, fetch, access);
        log.info("listening on {address}", { address: formatListenAddress(address) });
        return;
      } catch (error) {
        if (attempt === 1) {
          log.error("{flag}: can't listen on {address}, trying again: {error}", {
            flag,
            address: formatListenAddress(address),
            error: describeError(error),
          });
        }
        await sleep(backoffDelay(attempt, { first: 250, cap: 5_000 }), stopping.signal);
      }
    }
  };
  const running = run();
  return {
    async stop() {
      stopping.abort();
      await running;
      await end?.();
    },
  };
}

/** @returns what ends it */
async function serve(address: ListenAddress, fetch: Fetch, access: SocketAccess): Promise<() => Promise<void>> {
  if (address.kind === "unix") return serveSocket(address.path, fetch, access);
  const server = Bun.serve({ hostname: address.host, port: address.port, ...serverOptions(fetch) });
  return () => server.stop(true);
}
