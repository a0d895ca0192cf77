import type { Verdict } from "../api/peers.ts";

/** What the last train of probes along one path said. */
export type PathState = "unknown" | "answers" | "silent";

/** What is known of a peer in one family. */
export interface Evidence {
  readonly overlay: PathState;
  readonly underlay: PathState;
  /** through the overlay, in packets of full size */
  readonly fullSize: PathState;
  /** probes through the overlay that the window holds, and those of them that got an answer */
  readonly sent: number;
  readonly received: number;
}

/** With fewer probes than this, loss says nothing. */
const FEWEST = 20;
/** A path is lossy from the first of these shares on, and stays so down to the second: at the limit it would come and go. */
const LOSSY_ABOVE = 0.1;
const LOSSY_DOWN_TO = 0.05;

/**
 * What the probes say together. An underlay that is silent alone is none of our business: many filter ICMP there. Pure.
 * @param before the verdict so far
 */
export function verdictOf({ overlay, underlay, fullSize, sent, received }: Evidence, before: Verdict): Verdict {
  if (overlay === "unknown") return "unknown";
  if (overlay === "silent") return underlay === "answers" ? "overlayBlocked" : "unreachable";
  if (fullSize === "silent") return "mtuTooSmall";
  const lost = 1 - received / sent;
  const isLossy = sent >= FEWEST && lost > (before === "lossy" ? LOSSY_DOWN_TO : LOSSY_ABOVE);
  return isLossy ? "lossy" : "reachable";
}

/** In words, what a verdict is about. */
export interface Scene {
  /** as in "IPv4" */
  readonly families: string;
  /** of the peer */
  readonly publicIP: string;
  /** of this node, the source of encapsulated packets */
  readonly local: string;
  readonly devices: readonly string[];
  /** UDP, of VXLAN */
  readonly port: number;
  /** bytes of a packet of full size, in the overlay and as it goes over the underlay */
  readonly fullBytes: readonly number[];
  readonly outerBytes: number;
  readonly lossPercent: number;
  /** it is the same with every other node, of which there are several */
  readonly everywhere: boolean;
}

/** Why a peer is not reachable as it should be, and what to do about it; undefined where nothing is wrong. Pure. */
export function explain(verdict: Verdict, scene: Scene): { why: string; fix: string } | undefined {
  const words = explainOne(verdict, scene);
  return words && scene.everywhere ? { why: words.why, fix: `${EVERYWHERE}: ${words.fix}` } : words;
}

/** The cause is most likely where all the ways meet. */
export const EVERYWHERE = "it is the same with all other nodes, so begin with this one";

function explainOne(verdict: Verdict, scene: Scene): { why: string; fix: string } | undefined {
  const { families, publicIP, local, port, outerBytes } = scene;
  const [devices, fullBytes] = [scene.devices.join(" and "), scene.fullBytes.join(" and ")];
  switch (verdict) {
    case "unknown":
    case "reachable":
      return undefined;
    case "lossy":
      return {
        why: `of the last probes through the overlay (${families}) ${Math.round(scene.lossPercent)} % got no answer`,
        fix: `look for drops and errors between ${local} and ${publicIP}, as ip -s link and ethtool -S tell them`,
      };
    case "mtuTooSmall":
      return {
        why: `small packets come through the overlay (${families}), those of full size, ${fullBytes} bytes, do not`,
        fix: `let the network carry packets of ${outerBytes} bytes between ${local} and ${publicIP}, or lower Backend.MTU below that`,
      };
    case "overlayBlocked": {
      const where = scene.everywhere ? "here" : "on that node";
      return {
        why: `${publicIP} answers, but nothing answers through the overlay (${families})`,
        fix: `let UDP port ${port} through between ${local} and ${publicIP}, both ways; if it is open, see with tartan doctor ${where} that ${devices} is in order, and answers ICMP echoes`,
      };
    }
    case "unreachable":
      return {
        why: `no answer through the overlay (${families}), and none from ${publicIP}`,
        fix: `see whether the node is up, its network reaches ${local}, and it answers ICMP echoes`,
      };
  }
}
