import type { Certificate } from "./certificates.ts";

export interface ApiServerSettings {
  readonly etcdUrl: string;
  readonly address: string;
  readonly port: number;
  /** what it tells others to be its address, which may not be one of the loopback interface */
  readonly advertiseAddress: string;
  /** of the server; clients with certificates of its CA are let in, too */
  readonly certificate: Certificate;
  /** where it may keep files of its own */
  readonly folder: string;
  /** key that signs the tokens of service accounts */
  readonly accountKey: string;
  /** file with tokens of users, in CSV */
  readonly tokens: string;
  readonly serviceCIDR: string;
  /** Nodes may have podCIDRs of both families */
  readonly dualStack: boolean;
  /** pods get a service account, for which a controller has to make them: there is one with `allControllers` */
  readonly serviceAccounts?: boolean;
}

/** An option until 1.22, and no name of an option any more from 1.25 on. */
function dualStackGate(isOn: boolean): string[] {
  return isOn ? ["--feature-gates=IPv6DualStack=true"] : [];
}

/** kube-apiserver's arguments, with TLS and RBAC, for 1.20 and later. */
export function apiServerArguments(settings: ApiServerSettings): string[] {
  const { etcdUrl, address, port, advertiseAddress, certificate, folder, accountKey, tokens, serviceCIDR } = settings;
  return [
    `--etcd-servers=${etcdUrl}`,
    `--secure-port=${port}`,
    `--bind-address=${address}`,
    `--advertise-address=${advertiseAddress}`,
    `--client-ca-file=${certificate.ca}`,
    `--tls-cert-file=${certificate.cert}`,
    `--tls-private-key-file=${certificate.key}`,
    `--cert-dir=${folder}`,
    `--token-auth-file=${tokens}`,
    `--service-account-key-file=${accountKey}`,
    `--service-account-signing-key-file=${accountKey}`,
    "--service-account-issuer=https://kubernetes",
    `--service-cluster-ip-range=${serviceCIDR}`,
    "--authorization-mode=Node,RBAC",
    "--allow-privileged=true",
    "--kubelet-preferred-address-types=InternalIP",
    ...(settings.serviceAccounts ? [] : ["--disable-admission-plugins=ServiceAccount"]),
    ...dualStackGate(settings.dualStack),
  ];
}

/** kube-controller-manager's arguments, for 1.20 to 1.23, to hand out podCIDRs and, unless asked, do nothing else. */
export function controllerManagerArguments(settings: {
  readonly kubeconfig: string;
  /** one network, or one of each family, separated by a comma */
  readonly clusterCIDR: string;
  /** where it may keep files of its own */
  readonly folder: string;
  /** everything that a cluster needs; with the files of the API server that go into tokens of service accounts */
  readonly allControllers?: { readonly accountKey: string; readonly ca: string };
}): string[] {
  const { allControllers } = settings;
  return [
    ...(allControllers === undefined
      ? ["--controllers=nodeipam"]
      : [`--root-ca-file=${allControllers.ca}`, `--service-account-private-key-file=${allControllers.accountKey}`]),
    "--allocate-node-cidrs",
    `--cluster-cidr=${settings.clusterCIDR}`,
    `--kubeconfig=${settings.kubeconfig}`,
    `--cert-dir=${settings.folder}`,
    "--leader-elect=false",
    "--port=0",
    "--secure-port=0",
    ...dualStackGate(settings.clusterCIDR.includes(",")),
  ];
}
