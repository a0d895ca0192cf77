/** One member of an etcd cluster. */
export interface EtcdSettings {
  readonly name: string;
  readonly dataDir: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** of all members, this one included; it is the only one if not given */
  readonly cluster?: readonly { readonly name: string; readonly peerUrl: string }[];
  /** the server's own certificate: it then speaks TLS to its clients */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** it asks clients for a certificate of this CA */
  readonly clientCa?: string;
}

/** etcd's arguments, for 3.4 and later. */
export function etcdArguments(settings: EtcdSettings): string[] {
  const { name, dataDir, clientUrl, peerUrl, cluster = [settings], certificate, clientCa } = settings;
  return [
    `--name=${name}`,
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${cluster.map((member) => `${member.name}=${member.peerUrl}`).join(",")}`,
    "--logger=zap",
    "--log-level=error",
    ...(certificate === undefined ? [] : [`--cert-file=${certificate.cert}`, `--key-file=${certificate.key}`]),
    ...(clientCa === undefined ? [] : [`--trusted-ca-file=${clientCa}`, "--client-cert-auth"]),
  ];
}
