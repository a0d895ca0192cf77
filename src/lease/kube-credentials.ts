import type { RequestOptions } from "node:https";
import { type Cluster, KubeConfig } from "@kubernetes/client-node";
import * as v from "valibot";
import { UsageError } from "../base/errors.ts";
import {
  type FoundConfig,
  findKubeConfig,
  isServerUrl,
  type KubeConfigOptions,
  readText,
  showUrl,
} from "./kube-config.ts";
import { ExecPlugin, type PluginCluster } from "./kube-plugin.ts";

/** Everything that a request needs beside itself. */
export interface KubeAccess {
  /** URL without a slash at its end */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: v.InferOutput<typeof tlsSchema>;
  readonly proxy?: string;
  /** for messages: who we are, and whose certificates are trusted */
  readonly identity: string;
  readonly trust: string;
}

/** How long what was read is good for: tokens and certificates are renewed in place (client-go rereads each minute). */
const KEEP_MS = 60_000;

/** The credentials as they are now: read again after a while, and when `forget` says that they were refused. */
export class KubeCredentials {
  readonly #options: KubeConfigOptions;
  #access: Promise<KubeAccess> | undefined;
  #readAt = 0;
  #server: string | undefined;
  /** keeps what an exec plugin answered until that expires */
  #plugin: { readonly found: FoundConfig; readonly config: KubeConfig } | undefined;

  /** @throws UsageError if --kube-api-url is no URL */
  constructor(options: KubeConfigOptions) {
    const { apiUrl } = options;
    if (apiUrl !== undefined && !isServerUrl(apiUrl)) {
      throw new UsageError(`--kube-api-url must be a URL such as https://10.0.0.1:6443, not ${showUrl(apiUrl)}`);
    }
    this.#options = options;
  }

  /** For messages: the API server's URL, or where it would be found. */
  get location(): string {
    return this.#server ?? this.#options.apiUrl ?? this.#options.kubeconfigFile ?? "of this pod's cluster";
  }

  /** @throws Error that names the file or the plugin */
  current(): Promise<KubeAccess> {
    if (this.#access === undefined || performance.now() - this.#readAt > KEEP_MS) {
      const access = this.#read();
      this.#readAt = performance.now();
      this.#access = access;
      // What could not be read is tried anew the next time.
      access.catch(() => this.forget());
    }
    return this.#access;
  }

  /** What is known is not accepted: reads files and asks plugins anew the next time. */
  forget(): void {
    this.#access = undefined;
    this.#plugin = undefined;
  }

  async #read(): Promise<KubeAccess> {
    const found = findKubeConfig(this.#options);
    this.#server = found.cluster.server;
    if (found.cluster.server.startsWith("http:")) return plainAccess(found);
    const { caFile } = found.cluster;
    if (caFile) readText(caFile, "certificate authority");
    return secureAccess(found, this.#configOf(found));
  }

  #configOf(found: FoundConfig): KubeConfig {
    const kept = this.#plugin;
    if (kept !== undefined && Bun.deepEquals(kept.found, found)) return kept.config;
    const config = new KubeConfig();
    const { cluster, user } = found;
    this.#plugin = undefined;
    if (user.exec) {
      const plugin = execPlugin(user.exec, found);
      config.addAuthenticator(plugin);
      config.loadFromClusterAndUser(cluster, plugin.userOf(user));
      this.#plugin = { found, config };
    } else {
      config.loadFromClusterAndUser(cluster, user);
    }
    return config;
  }
}

/** As in client-go, nobody on the way gets to read credentials. */
function plainAccess({ cluster }: FoundConfig): KubeAccess {
  return { server: cluster.server, headers: {}, tls: {}, ...proxyOf(cluster), identity: "no credentials", trust: "" };
}

async function secureAccess({ cluster, user, identity }: FoundConfig, config: KubeConfig): Promise<KubeAccess> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (cause) {
    const from = user.exec?.command ? `exec plugin ${user.exec.command} for ${identity}` : identity;
    throw new Error(`no credentials from ${from}: ${messageOf(cause)}`, { cause });
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name] = `${value}`.trim();
  if (options.auth) headers["Authorization"] = `Basic ${Buffer.from(options.auth).toString("base64")}`;
  // The error about a header that can't be sent would quote it.
  if (Object.values(headers).some((value) => !/^[\x20-\x7e]*$/.test(value))) {
    throw new Error(`the credentials of ${identity} have a line break or another special character in them`);
  }
  const { caFile, caData, server } = cluster;
  const trust = caFile || (caData ? `kubeconfig's data for cluster ${cluster.name}` : "the well-known authorities");
  const { ca, cert, key, servername: serverName } = options;
  return {
    server,
    headers,
    tls: v.parse(tlsSchema, { ca, cert, key, serverName }),
    ...proxyOf(cluster),
    identity,
    trust,
  };
}

function proxyOf({ proxyUrl, name }: Cluster): { proxy?: string } {
  if (proxyUrl?.startsWith("socks")) throw new Error(`cluster ${name}: its proxy-url is neither HTTP nor HTTPS`);
  return proxyUrl ? { proxy: proxyUrl } : {};
}

const pem = v.union([v.string(), v.instance(Buffer)]);
/** What the client library gives is null where there is none. */
const tlsSchema = v.pipe(
  v.object({ ca: v.nullish(pem), cert: v.nullish(pem), key: v.nullish(pem), serverName: v.nullish(v.string()) }),
  v.transform(({ ca, cert, key, serverName }) => ({
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
    ...(serverName && { serverName }),
  })),
);

function execPlugin(exec: unknown, found: FoundConfig): ExecPlugin {
  try {
    return new ExecPlugin(exec, { cluster: () => pluginCluster(found) });
  } catch (cause) {
    throw new Error(`no credentials from ${found.identity}: ${messageOf(cause)}`, { cause });
  }
}

/** As client-go tells it: the authority's certificate itself, also where the kubeconfig names a file. */
function pluginCluster({ cluster, pluginConfig }: FoundConfig): PluginCluster {
  const { server, tlsServerName, caData, caFile, proxyUrl } = cluster;
  const ca = caData || (caFile && Buffer.from(readText(caFile, "certificate authority")).toString("base64"));
  return {
    server,
    ...(tlsServerName && { "tls-server-name": tlsServerName }),
    ...(ca && { "certificate-authority-data": ca }),
    ...(proxyUrl && { "proxy-url": proxyUrl }),
    ...(pluginConfig === undefined ? {} : { config: pluginConfig }),
  };
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
