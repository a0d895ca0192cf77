import * as v from "valibot";
import { type Child, childBecomes, startChild } from "../child.ts";
import { inside, namespacePath, quote } from "../command.ts";
import { type KubePlan, type LabHost, mainAddress } from "../lease-plan.ts";
import type { KubeCommand, ServerPaths } from "./binaries.ts";
import { KubeApi } from "./kube-api.ts";
import { apiServerArguments, controllerManagerArguments } from "./kube-arguments.ts";
import { type ApiServerFiles, makeApiServerFiles } from "./kube-files.ts";
import { kubeconfigText } from "./kubeconfig.ts";
import { nodeObject } from "./node-object.ts";
import { Relay } from "./relay.ts";

const PATIENCE_MS = 90_000;
/** seconds; no lab stays as long */
const TOKEN_LIFETIME = 365 * 24 * 3600;

const NodeList = v.object({
  items: v.array(
    v.object({
      metadata: v.object({ name: v.string() }),
      spec: v.object({ podCIDRs: v.optional(v.array(v.string()), []) }),
    }),
  ),
});

export interface KubeSettings {
  readonly host: LabHost;
  readonly plan: KubePlan;
  readonly paths: ServerPaths;
  readonly etcdUrl: string;
  /** ends with the lab */
  readonly open: AsyncDisposableStack;
}

/** The lab's Kubernetes: API server and controllers, of which only the one that hands out podCIDRs runs. */
export class LabKubernetes {
  readonly #settings: KubeSettings;
  readonly #files: ApiServerFiles;
  /** the API server as it is reached from outside of its namespace */
  readonly #url: string;
  readonly #api: KubeApi;
  readonly #children: Child[] = [];

  private constructor(settings: KubeSettings, files: ApiServerFiles, adminToken: string) {
    const { host, plan, open } = settings;
    const target = { address: mainAddress(host), port: plan.port, namespace: namespacePath(host.namespace) };
    this.#settings = settings;
    this.#files = files;
    this.#url = `https://127.0.0.1:${open.use(new Relay(target)).port}`;
    this.#api = new KubeApi({ url: this.#url, ca: files.authority.ca, token: adminToken });
  }

  get children(): readonly Child[] {
    return this.#children;
  }

  /**
   * Starts the API server, waits until it is ready, makes flannel's account, and writes all kubeconfigs.
   * @throws ChildError, Error with what the API server answered, or the signal's reason
   */
  static async start(settings: KubeSettings, signal: AbortSignal): Promise<LabKubernetes> {
    const adminToken = crypto.randomUUID();
    const { folder } = settings.plan;
    const files = await makeApiServerFiles(folder, [mainAddress(settings.host)], adminToken, signal);
    const kube = new LabKubernetes(settings, files, adminToken);
    await kube.#startApiServer(signal);
    await kube.#writeKubeconfigs(adminToken, signal);
    return kube;
  }

  #start(name: KubeCommand, args: readonly string[], logFile: string): Child {
    const { host, paths } = this.#settings;
    const child = startChild({ name, command: inside(host.namespace, [paths(name), ...args]), logFile });
    this.#children.push(child);
    return child;
  }

  async #startApiServer(signal: AbortSignal): Promise<void> {
    const { host, plan, etcdUrl } = this.#settings;
    const address = mainAddress(host);
    const args = apiServerArguments({
      etcdUrl,
      address,
      port: plan.port,
      advertiseAddress: address,
      folder: plan.folder,
      serviceCIDR: plan.serviceCIDR,
      dualStack: plan.clusterCIDR.includes(","),
      ...this.#files,
    });
    const server = this.#start("kube-apiserver", args, plan.apiServerLog);
    await childBecomes("ready", server, PATIENCE_MS, signal, async () => ({
      value: await this.#api.request("GET", "/readyz", { signal }),
    }));
    await this.#api.makeAccount(signal);
  }

  async #writeKubeconfigs(adminToken: string, signal: AbortSignal): Promise<void> {
    const { plan } = this.#settings;
    const { ca } = this.#files.authority;
    const token = await this.#api.token(TOKEN_LIFETIME);
    const [server] = this.#children;
    if (server === undefined) throw new Error("the API server was never started");
    await childBecomes("granting flannel's role to its account", server, PATIENCE_MS, signal, async () => ({
      value: await this.#api.grants(token, signal),
    }));
    await Promise.all([
      Bun.write(plan.agentKubeconfig, kubeconfigText(plan.url, ca, { token })),
      Bun.write(plan.serverKubeconfig, kubeconfigText(plan.url, ca, { token: adminToken })),
      Bun.write(plan.adminKubeconfig, kubeconfigText(this.#url, ca, { token: adminToken })),
      Bun.write(plan.adminHeader, `Authorization: Bearer ${adminToken}\n`),
    ]);
  }

  /** Registers each machine as its kubelet would, and waits until the controller has given each Node its podCIDRs. */
  async addNodes(hosts: readonly LabHost[], signal: AbortSignal): Promise<void> {
    const architecture = process.arch === "x64" ? "amd64" : process.arch;
    for (const { name, addresses } of hosts) {
      const body = nodeObject(name, Object.values(addresses), architecture);
      await this.#api.request("POST", "/api/v1/nodes", { body, signal });
    }
    const { serverKubeconfig: kubeconfig, clusterCIDR, folder, controllersLog } = this.#settings.plan;
    const args = controllerManagerArguments({ kubeconfig, clusterCIDR, folder });
    const controllers = this.#start("kube-controller-manager", args, controllersLog);
    await childBecomes("done with handing out podCIDRs", controllers, PATIENCE_MS, signal, async () => {
      const { items } = v.parse(NodeList, await this.#api.request("GET", "/api/v1/nodes", { signal }));
      const wanted = clusterCIDR.split(",").length;
      const without = items.filter(({ spec }) => spec.podCIDRs.length < wanted).map(({ metadata }) => metadata.name);
      return without.length === 0 ? { value: true } : { lacks: `${without.join(", ")} has not got them` };
    });
  }

  /** Shell commands that show what it holds. */
  get inspect(): string[] {
    const { adminKubeconfig, adminHeader } = this.#settings.plan;
    // To curl the answer is indented, and that code of Kubernetes 1.20 crashes if it was built with Go 1.18 or later.
    const nodes = `${this.#url}/api/v1/nodes?pretty=false`;
    return [
      ["kubectl", `--kubeconfig=${adminKubeconfig}`, "get", "nodes"],
      ["curl", "--cacert", this.#files.authority.ca, "-H", `@${adminHeader}`, nodes],
    ].map((command) => command.map(quote).join(" "));
  }
}
