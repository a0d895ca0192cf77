import { statSync, unlinkSync } from "node:fs";
import { backoffDelay, sleep } from "../base/backoff.ts";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import { formatListenAddress, type ListenAddress } from "../config/listen-address.ts";

const log = logger("http");

export interface Listener {
  /** Ends the connections too. */
  stop(): Promise<void>;
}

type Fetch = (request: Request) => Response | Promise<Response>;

/**
 * Serves HTTP at an address. While the address is taken (by the agent that this one replaces, which is about to end) it
 * is tried again: the data path does not wait for it.
 * @param flag named in messages
 */
export function listen(address: ListenAddress, fetch: Fetch, flag: string): Listener {
  const stopping = new AbortController();
  let server: Bun.Server<undefined> | undefined;
  const run = async (): Promise<void> => {
    for (let attempt = 1; !stopping.signal.aborted; attempt++) {
      try {
        server = serve(address, fetch);
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
      await server?.stop(true);
      if (address.kind === "unix" && server !== undefined) removeSocket(address.path);
    },
  };
}

function serve(address: ListenAddress, fetch: Fetch): Bun.Server<undefined> {
  if (address.kind === "tcp") return Bun.serve({ hostname: address.host, port: address.port, fetch });
  // A socket that a killed agent left behind would be in the way.
  removeSocket(address.path);
  return Bun.serve({ unix: address.path, fetch });
}

function removeSocket(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is there and is no socket`);
  unlinkSync(path);
}
