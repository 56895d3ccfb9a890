/** What is to be run, however it is run. */

export interface Job {
  /** Every value that the child is handed, by name. */
  readonly environment: Record<string, string>;
  /** Where the child leaves its result and its summary. */
  readonly folder: string;
  /** Files outside of the job's folders that it must be able to read. */
  readonly files: readonly string[];
  readonly show: (line: string) => void;
}

/**
 * The environment of this process without what belongs to the login: inputs, connections, secrets, and logins that somebody
 * else has put there. The service connection is the login, and no other one is tried.
 */
export function withoutSecrets(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const hidden = /^(INPUT_|ENDPOINT_|SECRET_|SECUREFILE_|VSTS_TASKVARIABLE_|AZURE_|AZURESUBSCRIPTION_|ACR_CLEANUP_|ARM_|SYSTEM_ACCESSTOKEN$|SYSTEM_OIDCREQUESTURI$|GITHUB_ACTIONS$|PYTHON)/i;
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !hidden.test(name)));
}
