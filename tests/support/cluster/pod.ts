import * as v from "valibot";
import type { SpawnOptions } from "../netns.ts";
import type { Place } from "../ping.ts";
import { BUSYBOX_IMAGE } from "./busybox.ts";
import type { TestCluster } from "./cluster.ts";

/** of every pod's web server, which answers with the pod's name */
export const WEB_PORT = 8080;
const STATE = v.object({ containerID: v.string(), ready: v.boolean(), restartCount: v.number() });
const Pod = v.object({
  metadata: v.object({ uid: v.string() }),
  spec: v.object({ nodeName: v.string() }),
  status: v.object({ podIP: v.string(), containerStatuses: v.tuple([STATE]) }),
});

export interface PodSettings {
  /** name of the node */
  readonly on: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** the port of its node that leads to the web server */
  readonly hostPort?: number;
}

/** A pod with a web server on a pod network, on a node that may not be ready yet. */
export class TestPod {
  readonly name: string;
  readonly #cluster: TestCluster;

  constructor(cluster: TestCluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  static async create(cluster: TestCluster, name: string, { on, labels, hostPort }: PodSettings): Promise<TestPod> {
    const serve = `echo ${name} >/www/index.html; echo ${name} serves; exec httpd -f -p ${WEB_PORT} -h /www`;
    const port = { containerPort: WEB_PORT, ...(hostPort !== undefined && { hostPort }) };
    const container = { name: "web", image: BUSYBOX_IMAGE, command: ["sh", "-c", serve], ports: [port] };
    const pod = {
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name, labels } },
      spec: {
        nodeName: on,
        tolerations: [{ operator: "Exists" }],
        // As process 1 it takes no SIGTERM.
        terminationGracePeriodSeconds: 0,
        containers: [container],
      },
    };
    await cluster.kubectl.run(["create", "-f=-"], JSON.stringify(pod));
    return new TestPod(cluster, name);
  }

  /** Waits until it runs. @throws Error with what happened to it */
  async ready(): Promise<void> {
    try {
      await this.#cluster.kubectl.run(["wait", "--for=condition=Ready", `pod/${this.name}`, "--timeout=120s"]);
    } catch (cause) {
      throw new Error(await this.#cluster.kubectl.run(["describe", "pod", this.name]), { cause });
    }
  }

  /** As the API server has it; of a pod that runs. */
  async look(): Promise<v.InferOutput<typeof Pod>> {
    return this.#cluster.kubectl.get(Pod, "pod", this.name);
  }

  async address(): Promise<string> {
    return (await this.look()).status.podIP;
  }

  /** Runs a command in it by way of its kubelet. @throws Error with its stderr if it fails */
  exec(...command: readonly string[]): Promise<string> {
    return this.#cluster.kubectl.run(["exec", this.name, "--", ...command]);
  }

  /** What a web server answers to it. (busybox's wget looks up the service's name, at which a static glibc crashes.) */
  async get(host: string, port: number): Promise<string> {
    const answer = await this.exec("sh", "-c", `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${host} ${port}`);
    return answer.split("\r\n\r\n")[1]?.trim() ?? "";
  }

  /** Its network, where commands of this machine can be started. */
  async network(): Promise<Place> {
    const { spec, status } = await this.look();
    const pid = await this.#cluster.node(spec.nodeName).pidOf(status.containerStatuses[0].containerID);
    return {
      spawn<Options extends SpawnOptions>(command: readonly string[], options?: Options) {
        const within = ["nsenter", `--target=${pid}`, "--net", "--", ...command];
        return Bun.spawn<Options["stdin"], Options["stdout"], Options["stderr"]>(within, options);
      },
    };
  }

  /** Deletes it without the consent of its kubelet, which may be gone. */
  async forget(): Promise<void> {
    await this.#cluster.kubectl.run(["delete", "pod", this.name, "--force", "--grace-period=0"]);
  }
}
