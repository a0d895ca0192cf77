import type { Peer } from "../../api/peers.ts";
import { sleep } from "../../base/backoff.ts";
import { describeError } from "../../base/errors.ts";
import { print } from "../output.ts";

/** milliseconds between two looks */
const INTERVAL_MS = 2_000;

interface Watched<List extends { readonly items: readonly Peer[] }> {
  look(): Promise<List>;
  /** all of them, in at most so many lines */
  screen(list: List, height: number): string;
  /** one that has changed */
  change(peer: Peer, before: Peer | undefined): string;
}

/**
 * Goes on until it is killed or nobody reads it: a terminal is drawn again and again, elsewhere each change is a line.
 * @param terminal to draw on; undefined: lines
 */
export async function watchPeers<List extends { readonly items: readonly Peer[] }>(
  { look, screen, change }: Watched<List>,
  terminal: NodeJS.WriteStream | undefined,
): Promise<number> {
  const forever = new AbortController().signal;
  let known: ReadonlyMap<string, Peer> | undefined;
  let away = false;
  for (; ; await sleep(INTERVAL_MS, forever)) {
    let list: List;
    try {
      list = await look();
    } catch (error) {
      // It is told once; what was last seen stays on the screen.
      if (!away) process.stderr.write(`tartan: ${describeError(error)}\n`);
      away = true;
      continue;
    }
    const peers = list.items;
    let text: string;
    // The last line is where the cursor stands.
    if (terminal !== undefined) text = `\x1b[H\x1b[J${screen(list, (terminal.rows || 24) - 1)}`;
    else if (known === undefined || away) text = screen(list, Number.POSITIVE_INFINITY);
    else text = [...changesOf(known, peers, change), ""].join("\n");
    if (text !== "" && !(await print(text))) return 0;
    known = new Map(peers.map((peer) => [peer.key, peer]));
    away = false;
  }
}

/** A line for each that came, went, or is in another state or so for another reason. */
export function changesOf(
  known: ReadonlyMap<string, Peer>,
  peers: readonly Peer[],
  change: (peer: Peer, before: Peer | undefined) => string,
): string[] {
  const lines = peers.flatMap((peer) => {
    const before = known.get(peer.key);
    return before?.state === peer.state && before.why === peer.why ? [] : [change(peer, before)];
  });
  const present = new Set(peers.map(({ key }) => key));
  const gone = [...known.values()].filter(({ key }) => !present.has(key));
  return [...lines, ...gone.map((peer) => change({ ...peer, why: "its lease is gone" }, peer))];
}
