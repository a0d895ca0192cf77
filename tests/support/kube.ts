import { afterAll } from "bun:test";
import * as v from "valibot";
import type { KubeCommand } from "../../src/cli/lab/servers/binaries.ts";
import type { Authority, Certificate } from "../../src/cli/lab/servers/certificates.ts";
import { KubeApi } from "../../src/cli/lab/servers/kube-api.ts";
import { apiServerArguments, controllerManagerArguments } from "../../src/cli/lab/servers/kube-arguments.ts";
import { makeApiServerFiles } from "../../src/cli/lab/servers/kube-files.ts";
import { kubeconfigText } from "../../src/cli/lab/servers/kubeconfig.ts";
import { EtcdServer } from "./etcd.ts";
import { kubeBinary } from "./kube-binaries.ts";
import type { Netns } from "./netns.ts";
import { freePorts } from "./ports.ts";
import { TcpRelay } from "./tcp-relay.ts";
import { TemporaryFolder } from "./temp.ts";
import { eventually } from "./wait.ts";

/** What the tests look at of a Node. */
const NodeBody = v.object({
  metadata: v.object({
    name: v.string(),
    uid: v.string(),
    resourceVersion: v.string(),
    creationTimestamp: v.string(),
    annotations: v.optional(v.record(v.string(), v.string()), {}),
  }),
  spec: v.object({ podCIDR: v.optional(v.string()), podCIDRs: v.optional(v.array(v.string()), []) }),
  status: v.object({ conditions: v.optional(v.array(v.record(v.string(), v.nullable(v.string()))), []) }),
});
export type NodeObject = v.InferOutput<typeof NodeBody>;

export interface KubeOptions {
  /** where it runs, and its address there; else here, on 127.0.0.1 */
  readonly place?: { readonly ns: Netns; readonly address: string };
  /** what kube-controller-manager cuts podCIDRs from; without it there is none, and no Node gets one by itself */
  readonly clusterCIDR?: string;
  /** Nodes may have podCIDRs of both families, which was an option at first */
  readonly dualStack?: boolean;
  /** all controllers and the scheduler run, and pods get service accounts; flannel's is not made. With `clusterCIDR` */
  readonly complete?: boolean;
}

interface ServerProcess {
  child: Bun.Subprocess;
  readonly start: () => Bun.Subprocess;
}

const SERVICE_CIDR = "10.96.0.0/16";
/** of the API server's own Service, by which pods ask it */
const SERVICE_ADDRESS = "10.96.0.1";
const ADMIN = "admin-of-the-tests";
/** seconds */
const TOKEN_LIFETIME = 3600;

/** The real API server over the real etcd, with TLS and RBAC, and kube-controller-manager's podCIDRs if asked for. */
export class KubeCluster implements AsyncDisposable {
  readonly folder = new TemporaryFolder();
  readonly #options: KubeOptions;
  readonly #processes = new Map<string, ServerProcess>();
  #etcd: EtcdServer | undefined;
  #authority: Authority | undefined;
  /** what the API server shows of itself */
  #certificate: Certificate | undefined;
  #api: KubeApi | undefined;
  #port = 0;
  /** the way into the server's namespace */
  #relay: TcpRelay | undefined;
  #log = "";

  constructor(options: KubeOptions) {
    this.#options = options;
  }

  static async start(options: KubeOptions = {}): Promise<KubeCluster> {
    const cluster = new KubeCluster(options);
    try {
      await cluster.#start();
    } catch (cause) {
      await cluster[Symbol.asyncDispose]();
      throw new Error(`the API server's log ends with:\n${cluster.#log.slice(-3000)}`, { cause });
    }
    return cluster;
  }

  get #address(): string {
    return this.#options.place?.address ?? "127.0.0.1";
  }

  get port(): number {
    return this.#port;
  }

  get url(): string {
    return `https://${this.#address}:${this.#port}`;
  }

  get authority(): Authority {
    if (this.#authority === undefined) throw new Error("the cluster was not started");
    return this.#authority;
  }

  async #start(): Promise<void> {
    const { place, clusterCIDR, complete = false } = this.#options;
    const { folder } = this;
    const addresses = [this.#address, ...(complete ? [SERVICE_ADDRESS] : [])];
    const files = await makeApiServerFiles(folder.path, addresses, ADMIN);
    this.#authority = files.authority;
    this.#certificate = files.certificate;
    this.#etcd = await EtcdServer.start(place === undefined ? {} : { place });
    this.#port = place === undefined ? (freePorts(1)[0] ?? 0) : 6443;
    this.#relay = place && new TcpRelay(this.#port, place);
    this.#trust(files.authority.ca);
    const settings = {
      etcdUrl: this.#etcd.endpoint,
      address: this.#address,
      port: this.#port,
      advertiseAddress: place === undefined ? "192.0.2.1" : this.#address,
      folder: folder.at("certificates"),
      serviceCIDR: SERVICE_CIDR,
      dualStack: this.#options.dualStack ?? false,
      serviceAccounts: complete,
      ...files,
    };
    await this.#run("kube-apiserver", apiServerArguments(settings));
    await this.serving();
    if (!complete) await this.#makeAccount();
    if (clusterCIDR === undefined) return;
    const kubeconfig = await this.kubeconfig({ token: ADMIN });
    const controllers = {
      ...{ kubeconfig, clusterCIDR, folder: folder.at("certificates") },
      ...(complete && { allControllers: { accountKey: files.accountKey, ca: files.authority.ca } }),
    };
    await this.#run("kube-controller-manager", controllerManagerArguments(controllers));
    if (!complete) return;
    const schedulerFiles = `--cert-dir=${folder.at("certificates")}`;
    await this.#run("kube-scheduler", [`--kubeconfig=${kubeconfig}`, "--leader-elect=false", schedulerFiles]);
  }

  async #run(name: KubeCommand, args: readonly string[]): Promise<void> {
    const command = [kubeBinary(name), ...args];
    const { place } = this.#options;
    const start = () => {
      const settings = { stdin: "ignore", stdout: "ignore", stderr: "pipe" } as const;
      const child = place === undefined ? Bun.spawn(command, settings) : place.ns.spawn(command, settings);
      void this.#collect(child.stderr);
      return child;
    };
    this.#processes.set(name, { child: start(), start });
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.#log = (this.#log + decoder.decode(chunk, { stream: true })).slice(-20_000);
  }

  /** Waits until the API server answers, and knows its own first roles. */
  async serving(): Promise<void> {
    await eventually(
      async () => this.#exited("kube-apiserver") || (await this.request("GET", "/readyz")) !== undefined,
      {
        within: 60_000,
        what: `the API server at ${this.url} is ready`,
      },
    );
    if (this.#exited("kube-apiserver")) throw new Error("kube-apiserver ended at once");
  }

  #exited(name: string): boolean {
    return this.#processes.get(name)?.child.exitCode !== null;
  }

  /** @param ca file of the authority whose certificate the API server shows from now on */
  #trust(ca: string): void {
    const url = this.#relay === undefined ? this.url : `https://127.0.0.1:${this.#relay.port}`;
    this.#api = new KubeApi({ url, ca, token: ADMIN });
  }

  get #administrator(): KubeApi {
    if (this.#api === undefined) throw new Error("the cluster was not started");
    return this.#api;
  }

  async #makeAccount(): Promise<void> {
    await this.#administrator.makeAccount();
    const token = await this.token();
    await eventually(() => this.#administrator.grants(token), { within: 30_000, what: "the account has its role" });
  }

  /** Gives flannel's ClusterRole, or another one, to someone. */
  async bind(name: string, subject: object, role?: string): Promise<void> {
    await this.#administrator.bind(name, subject, role);
  }

  /** A token of flannel's account. @param boundTo a Secret of its namespace whose end is the token's, too */
  async token(boundTo?: string): Promise<string> {
    return this.#administrator.token(TOKEN_LIFETIME, boundTo);
  }

  /** A folder as a pod finds it. */
  async serviceAccountFolder(name = "account", token?: string): Promise<string> {
    await Bun.write(this.folder.at(name, "ca.crt"), Bun.file(this.authority.ca));
    await Bun.write(this.folder.at(name, "token"), token ?? (await this.token()));
    return this.folder.at(name);
  }

  /** Writes a kubeconfig. @param user as it stands there @param cluster more about the cluster @returns its path */
  async kubeconfig(user: object, cluster: object = {}): Promise<string> {
    const path = this.folder.at(`${crypto.randomUUID()}.kubeconfig`);
    await Bun.write(path, kubeconfigText(this.url, this.authority.ca, user, cluster));
    return path;
  }

  /**
   * Asks the API server as its administrator, unless another token is given; PATCH is a merge.
   * @throws Error with what it answered, unless it is good
   */
  async request(method: string, path: string, body?: object, token?: string): Promise<unknown> {
    return this.#administrator.request(method, path, { body, ...(token !== undefined && { token }) });
  }

  async createNode(name: string, { annotations = {}, labels = {}, spec = {}, status = {} } = {}): Promise<NodeObject> {
    const node = { metadata: { name, annotations, labels }, spec, status };
    return v.parse(NodeBody, await this.request("POST", "/api/v1/nodes", node));
  }

  async node(name: string): Promise<NodeObject> {
    return v.parse(NodeBody, await this.request("GET", `/api/v1/nodes/${name}`));
  }

  async annotate(name: string, annotations: Readonly<Record<string, string | null>>): Promise<void> {
    await this.request("PATCH", `/api/v1/nodes/${name}`, { metadata: { annotations } });
  }

  async deleteNode(name: string): Promise<void> {
    await this.request("DELETE", `/api/v1/nodes/${name}`);
  }

  /** @param selector which ones, by their labels */
  async deleteAllNodes(selector = ""): Promise<void> {
    await this.request("DELETE", `/api/v1/nodes?${new URLSearchParams({ labelSelector: selector })}`);
  }

  /** @returns its podCIDR once it has one */
  async assigned(name: string): Promise<string> {
    return eventually(async () => (await this.node(name)).spec.podCIDR, {
      // kube-controller-manager takes ten seconds until it gives out the first one.
      within: 60_000,
      what: `${name} has a podCIDR`,
    });
  }

  /** Sends a signal to a server and, if that ends it, waits for its end. */
  async signal(name: KubeCommand, signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): Promise<void> {
    const server = this.#processes.get(name);
    server?.child.kill(signal);
    if (signal === "SIGKILL") await server?.child.exited;
  }

  /** Gives the API server, which has to be down, a certificate for its next start; the tests trust it. */
  async present({ ca, cert, key }: Certificate): Promise<void> {
    if (this.#certificate === undefined) throw new Error("the cluster was not started");
    await Bun.write(this.#certificate.cert, Bun.file(cert));
    await Bun.write(this.#certificate.key, Bun.file(key));
    this.#trust(ca);
  }

  /** Starts the API server again after it was killed, and waits until it answers. */
  async restart(): Promise<void> {
    const server = this.#processes.get("kube-apiserver");
    if (server === undefined) throw new Error("the API server was never started");
    server.child = server.start();
    await this.serving();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#processes.values()) {
      child.kill("SIGKILL");
      await child.exited;
    }
    this.#relay?.[Symbol.dispose]();
    await this.#etcd?.[Symbol.asyncDispose]();
    this.folder[Symbol.dispose]();
  }
}

/** Clusters that end after the tests around the call: call it in a test file or a `describe`. */
export function useKubernetes(): { start(options?: KubeOptions): Promise<KubeCluster> } {
  const own: KubeCluster[] = [];
  afterAll(async () => {
    for (const cluster of own.splice(0)) await cluster[Symbol.asyncDispose]();
  });
  return {
    async start(options) {
      const cluster = await KubeCluster.start(options);
      own.push(cluster);
      return cluster;
    },
  };
}
