{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "dpe.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* One name for everything: the release's, unless it lacks the chart's (release "radio" gives radio-dpe-operator).
     Helm allows release names that Kubernetes does not take for a Service (RFC 1035). */}}
{{- define "dpe.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $name = contains (include "dpe.name" .) .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name (include "dpe.name" .)) -}}
{{- end -}}
{{- $name = $name | trunc 50 | trimSuffix "-" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%q cannot be the name of a Service, which must begin with a letter and hold only small letters, digits and dashes: choose another release name, or set fullnameOverride" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Cluster-wide objects carry the namespace too: two releases of one name may live in two namespaces. */}}
{{- define "dpe.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "dpe.fullname" .) -}}
{{- end -}}

{{- define "dpe.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dpe.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* For the objects' own metadata only: versions inside a pod template would restart pods for nothing. */}}
{{- define "dpe.labels" -}}
app.kubernetes.io/name: {{ include "dpe.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "dpe.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "dpe.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Full name of an image; call with (dict "root" $ "key" "operator"). */}}
{{- define "dpe.image" -}}
{{- $image := index .root.Values.image .key -}}
{{- $known := .root.Files.Get "files/image-tags.yaml" | fromYaml -}}
{{- $tag := default (index $known $image.name | default "") $image.tag -}}
{{- if not $tag -}}
{{- fail (printf "no tag is known for image %s: set image.%s.tag, or run 'make generate' in a checkout, which writes files/image-tags.yaml" $image.name .key) -}}
{{- end -}}
{{- printf "%s/%s:%s" (trimSuffix "/" .root.Values.image.registry) $image.name $tag -}}
{{- end -}}

{{/* Node labels that every pod of this chart needs; the images are for Linux, whatever the values say. */}}
{{- define "dpe.nodeSelector" -}}
{{- merge (dict "kubernetes.io/os" "linux") (.Values.operator.nodeSelector | default dict) | toYaml -}}
{{- end -}}

{{- define "dpe.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The namespaces that get a Role, as JSON: none in the mode of all namespaces. */}}
{{- define "dpe.namespaces" -}}
{{- if .Values.watch.allNamespaces -}}
{{- if .Values.watch.namespaces -}}
{{- fail "watch.allNamespaces and watch.namespaces exclude each other: empty the list, or set watch.allNamespaces to false" -}}
{{- end -}}
[]
{{- else -}}
{{- .Values.watch.namespaces | default (list .Release.Namespace) | uniq | toJson -}}
{{- end -}}
{{- end -}}

{{/* Names of the rights to look after one namespace, and all. They are the same in every release: of two operators in one
     namespace each undoes what the other does. So Helm refuses a second one, as these objects are another release's;
     and where they are applied without Helm, they give the rights to one operator only. */}}
{{- define "dpe.watchName" -}}dpe-operator{{- end -}}
{{- define "dpe.watchAllName" -}}dpe-operator:all-namespaces{{- end -}}

{{/* The same between a release for all namespaces and one for some, whose rights are objects of two kinds. A release for
     some looks only if it makes a ClusterRoleBinding itself: to others the right to look at one may be missing, and
     Helm would end over that. */}}
{{- define "dpe.refuseSecondOperator" -}}
{{- $kinds := "rbac.authorization.k8s.io/v1" -}}
{{- if .Values.watch.allNamespaces -}}
{{- range (lookup $kinds "RoleBinding" "" "").items -}}
{{- if and (eq .metadata.name (include "dpe.watchName" $)) (include "dpe.isAnothers" (dict "root" $ "found" .)) -}}
{{- fail (printf "namespace %s is looked after by the operator %s already, and two would undo each other's work: take the namespace out of that release (watch.namespaces), or uninstall it; or name the namespaces of this one in watch.namespaces" .metadata.namespace (include "dpe.subject" .)) -}}
{{- end -}}
{{- end -}}
{{- else if or .Values.crds.install .Values.rbac.clusterReads -}}
{{- with lookup $kinds "ClusterRoleBinding" "" (include "dpe.watchAllName" .) -}}
{{- if include "dpe.isAnothers" (dict "root" $ "found" .) -}}
{{- fail (printf "all namespaces are looked after by the operator %s already, and two in one namespace would undo each other's work: uninstall it, or give that release its namespaces (watch.namespaces, watch.allNamespaces=false)" (include "dpe.subject" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Not empty if an object that was looked up is not of this release; call with (dict "root" $ "found" object). */}}
{{- define "dpe.isAnothers" -}}
{{- $notes := .found.metadata.annotations | default dict -}}
{{- $owner := list (index $notes "meta.helm.sh/release-namespace") (index $notes "meta.helm.sh/release-name") -}}
{{- if ne (toJson $owner) (list .root.Release.Namespace .root.Release.Name | toJson) -}}yes{{- end -}}
{{- end -}}

{{/* Whom a binding gives rights to, as NAMESPACE/ACCOUNT. */}}
{{- define "dpe.subject" -}}
{{- range .subjects | default list }}{{ .namespace }}/{{ .name }}{{ end -}}
{{- end -}}

{{/* Security of every pod of this chart: as the Pod Security Standard "restricted" wants it. */}}
{{- define "dpe.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dpe.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The API token, mounted only where a pod uses it. */}}
{{- define "dpe.tokenVolume" -}}
name: api-token
projected:
  defaultMode: 0440
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3607}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
    - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end -}}

{{- define "dpe.tokenMount" -}}
{name: api-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end -}}
