import * as v from "valibot";
import { type Peer, PeerList, type PeerState } from "../../../src/api/peers.ts";
import { State } from "../../../src/api/state.ts";
import { runDoctor } from "../../cli/doctor/running-doctor.ts";
import { samplesIn } from "../../support/metrics.ts";
import { Overlay } from "../../support/overlay.ts";
import { eventually } from "../../support/wait.ts";
import { tartan } from "../running-cli.ts";

/** Where each agent also listens, in its node's namespace, as a page's browser needs it. */
export const PAGE = "http://localhost:8285/";

/** A round a second, three trains that were silent before, and a busy machine. */
const SOON_MS = 40_000;

/** Metrics by which somebody is woken. */
const TELLING = /^tartan_(ready|warnings|peers|probe_peers|peer_up|peer_programmed|kernel_settled)\b/;

/** bytes */
const FULL_SIZE = 1450;
const HEADERS = 28;

/** What somebody on a node sees at one moment, as text in lines; of a command with its exit code at the end. */
export interface Views {
  readonly status: string;
  readonly peers: string;
  readonly doctor: string;
  /** to the pod of another node */
  readonly trace: string;
  readonly diff: string;
  readonly readyz: string;
  /** of those that wake somebody, without the samples that are 0, as in `tartan_peers{state="up"} 2` */
  readonly metrics: string;
  /** what the page reads: peers and the state */
  readonly data: string;
}
export type ViewName = keyof Views;
export const VIEW_NAMES: readonly ViewName[] = [
  ...(["status", "peers", "doctor", "trace", "diff", "readyz", "metrics", "data"] as const),
];

/** Of the other nodes, by name; or that the agent does not answer. */
export type Seen = Readonly<Record<string, PeerState>> | "away";

/** Three nodes with pods, in which something goes wrong. */
export class StoryMesh extends Overlay {
  async bringUp(): Promise<void> {
    await this.create(3, undefined, ["--probe-interval=1", "--debug-addr=127.0.0.1:8285", "--peer-metrics"]);
    await this.start();
    await this.attachPods();
  }

  get #numbers(): number[] {
    return this.nodes.map((_, at) => at + 1);
  }

  /** Waits until each node sees the others so. */
  async see(wanted: Readonly<Record<string, Seen>>): Promise<void> {
    for (const number of this.#numbers) {
      const name = `n${number}`;
      const what = `${name} sees ${JSON.stringify(wanted[name])}`;
      const look = async () => {
        const seen = await this.#seenBy(number);
        if (!Bun.deepEquals(seen, wanted[name])) throw new Error(`it sees ${JSON.stringify(seen)}`);
        return true;
      };
      await eventually(look, { within: SOON_MS, what });
    }
  }

  async #seenBy(number: number): Promise<Seen> {
    const peers = await this.peersOf(number);
    return peers === undefined ? "away" : Object.fromEntries(peers.map(({ node, key, state }) => [node ?? key, state]));
  }

  /** undefined: its agent does not answer */
  async peersOf(number: number): Promise<Peer[] | undefined> {
    const answer = await this.#ask(number, "/debug/peers?limit=1000");
    return answer === undefined ? undefined : v.parse(PeerList, JSON.parse(answer.body)).items;
  }

  /** Waits until a node has probed all others twice from now on. */
  async probedAnew(number: number): Promise<void> {
    for (let round = 0; round < 2; round++) {
      const now = Date.now();
      const isNew = ({ ipv4 }: Peer) => Date.parse(ipv4?.probe?.lastProbedAt ?? "") > now;
      const look = async () => (await this.peersOf(number))?.every(isNew);
      await eventually(look, { within: SOON_MS, what: `n${number} probes all others` });
    }
  }

  /** Whether pods of two nodes reach each other, by small packets and by those of full size: what all views are about. */
  async reaches(from: number, to: number): Promise<{ small: boolean; full: boolean }> {
    const ping = async (bytes: number) => {
      const command = [
        "ping",
        "-c",
        "3",
        "-i",
        "0.2",
        "-W",
        "2",
        "-M",
        "do",
        "-s",
        `${bytes - HEADERS}`,
        this.node(to).podAddress,
      ];
      return await this.node(from)
        .pod.exec(command)
        .then(
          () => true,
          () => false,
        );
    };
    return { small: await ping(100), full: await ping(FULL_SIZE) };
  }

  async lookAt(number: number, tracedTo: number): Promise<Views> {
    const node = this.node(number);
    const files = `--subnet-file=${node.agent.subnetFile}`;
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await tartan(node, args);
      return `${stdout}${stderr}exit code ${code}\n`;
    };
    const [status, peers, doctor, trace, diff] = await Promise.all([
      run("status", files),
      run("peers"),
      this.#doctor(number),
      run("trace", this.node(tracedTo).podAddress, files),
      run("diff", files),
    ]);
    const [readyz, metrics, data] = await Promise.all([
      this.#ask(number, "/readyz"),
      this.#ask(number, "/metrics"),
      this.#data(number),
    ]);
    const samples = [...samplesIn(metrics?.body ?? "")].filter(([name, value]) => value !== 0 && TELLING.test(name));
    return {
      ...{ status, peers, doctor, trace, diff, data },
      readyz: readyz === undefined ? "no answer" : `${readyz.status} ${readyz.body}`,
      metrics: metrics === undefined ? "no answer" : samples.map(([name, value]) => `${name} ${value}`).join("\n"),
    };
  }

  /** It finds the agent by itself, or that there is none. */
  async #doctor(number: number): Promise<string> {
    const { code, stdout, stderr } = await runDoctor(this.node(number).ns, []);
    return `${stdout}${stderr}exit code ${code}\n`;
  }

  async #data(number: number): Promise<string> {
    const state = await this.#ask(number, "/debug/state");
    if (state === undefined) return "no answer";
    const { readiness, peerCounts } = v.parse(State, JSON.parse(state.body));
    return JSON.stringify({ peers: await this.peersOf(number), readiness, peerCounts });
  }

  /** undefined: nothing answers */
  async #ask(number: number, path: string): Promise<{ status: number; body: string } | undefined> {
    try {
      const response = await this.node(number).agent.fetch(path);
      return { status: response.status, body: await response.text() };
    } catch (error) {
      const exitCode = this.node(number).agent.exitCode;
      if (exitCode === null) throw error;
      return undefined;
    }
  }
}

/** As a person reads it: line breaks of the layout are none of the sentence. */
export function flat(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}
