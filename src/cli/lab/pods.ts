import { readFileSync } from "node:fs";
import { describeError } from "../../base/errors.ts";
import { type Address, familyOf } from "../../net/address.ts";
import { familiesOf, type PerFamily } from "../../net/family.ts";
import { splitCidr } from "../../net/prefix.ts";
import { type Attachment, CniFailure, CniRunner, type Conflist, parseConflist, type Result } from "./cni/runner.ts";
import { inside, namespacePath } from "./command.ts";
import type { LabNode } from "./plan.ts";

/** Milliseconds for one call of a plugin, which takes a fraction of a second: more than 20 nodes at once need. */
const PATIENCE_MS = 30_000;

const INTERFACE = "eth0";

/** What container runtimes do by themselves, before the network's own plugins. */
const LOOPBACK: Conflist = { cniVersion: "1.0.0", name: "loopback", plugins: [{ type: "loopback" }] };

/** What attached a pod, and what it got. */
export interface AttachedPod {
  /** types of the plugins in the conflist */
  readonly plugins: readonly string[];
  readonly addresses: PerFamily<Address>;
}

/** ADDs that were begun, each with what its DEL is called by. */
interface Begun {
  readonly node: LabNode;
  readonly runner: CniRunner;
  readonly list: Conflist;
  readonly pod: Attachment;
}

/** The pods' interfaces, which CNI plugins make and take away as they would for a container runtime. */
export class LabPods implements AsyncDisposable {
  readonly #tell: (text: string) => void;
  readonly #begun: Begun[] = [];

  /** @param tell for what goes wrong at a DEL */
  constructor(tell: (text: string) => void) {
    this.#tell = tell;
  }

  /**
   * Attaches the node's pod by the conflist that the node's agent wrote.
   * @throws Error naming the node, and the plugin with what it says; the signal's reason, once a plugin that runs has ended
   */
  async attach(node: LabNode, signal: AbortSignal): Promise<AttachedPod> {
    const { name, namespace, podNamespace, cni } = node;
    const runner = new CniRunner({
      path: [cni.pluginDir],
      within: (command) => inside(namespace, command),
      patienceMs: PATIENCE_MS,
    });
    const pod = { containerId: podNamespace, netns: namespacePath(podNamespace) };
    try {
      const list = readConflist(cni.conflist);
      const add = (conflist: Conflist, ifName: string) => {
        signal.throwIfAborted();
        const attachment = { ...pod, ifName };
        // Also an ADD that fails is followed by a DEL.
        this.#begun.push({ node, runner, list: conflist, pod: attachment });
        return runner.add(conflist, attachment);
      };
      await add(LOOPBACK, "lo");
      const addresses = addressesIn(await add(list, INTERFACE));
      const missing = familiesOf(node.addresses).filter((family) => addresses[family] === undefined);
      if (missing.length > 0) throw new Error(`it was given no IPv${missing[0]} address`);
      return { plugins: list.plugins.map(({ type }) => type), addresses };
    } catch (cause) {
      signal.throwIfAborted();
      throw new Error(`the pod of ${name} can't be attached: ${describeFailure(cause)}`, { cause });
    }
  }

  /**
   * Takes all interfaces away again, the latest of each pod first. What fails is told, and is no obstacle to the rest.
   * @returns whether all is gone
   */
  async detach(): Promise<boolean> {
    const byNode = Map.groupBy(this.#begun.splice(0).toReversed(), ({ node }) => node);
    const results = await Promise.all([...byNode.values()].map((begun) => this.#detachPod(begun)));
    return !results.includes(false);
  }

  async #detachPod(begun: readonly Begun[]): Promise<boolean> {
    let gone = true;
    for (const { node, runner, list, pod } of begun) {
      try {
        await runner.del(list, pod);
      } catch (error) {
        gone = false;
        this.#tell(`${pod.ifName} of the pod of ${node.name} can't be deleted: ${describeFailure(error)}`);
      }
    }
    return gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.detach();
  }
}

function readConflist(path: string): Conflist {
  try {
    return parseConflist(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new Error(`${path}, which the agent wrote, can't be used`, { cause });
  }
}

/** The pod's own addresses in a result: not those of the node's end. */
function addressesIn({ interfaces, ips }: Result): PerFamily<Address> {
  const addresses: PerFamily<Address> = {};
  for (const { address, interface: index } of ips) {
    const on = index === undefined ? undefined : interfaces[index];
    const own = on === undefined || (on.name === INTERFACE && on.sandbox);
    const cidr = splitCidr(address);
    if (own && cidr !== undefined) addresses[familyOf(cidr.address)] ??= cidr.address;
  }
  return addresses;
}

function describeFailure(error: unknown): string {
  if (!(error instanceof CniFailure)) return describeError(error);
  const { call, message, details } = error;
  return `${call}: ${message}${details === "" ? "" : `; ${details}`}`;
}
