import Environment
import Metadata
import Model
import Wire

// DescribeConfigs (KIP-133, KIP-226, KIP-569) and ListConfigResources (KIP-1142).
extension Broker {
  func handleDescribeConfigs(_ exchange: Exchange<Env.Disk.File>, _ request: DescribeConfigsRequest) {
    let catalog = self.catalog
    let layers = self.configLayers(catalog.image)
    var response = DescribeConfigsResponse()
    // A resource takes a few bytes to name and kilobytes to describe: named again and again, it is described once.
    var described: Set<DescribeConfigsRequest.DescribeConfigsResource> = []
    for resource in request.resources where described.insert(resource).inserted {
      var result = DescribeConfigsResponse.DescribeConfigsResult(
        errorMessage: nil, resourceType: resource.resourceType, resourceName: resource.resourceName)
      switch self.descriptions(of: resource, catalog.image, layers) {
      case .success(let descriptions):
        result.configs =
          descriptions.filter { description in resource.configurationKeys.map { $0.isEmpty || $0.contains(description.name) } ?? true }
          .map { Self.result($0, request) }
      case .failure(let error):
        result.errorCode = error.code
        result.errorMessage = error.message
      }
      response.results.append(result)
    }
    exchange.respond(response)
  }

  private func descriptions(
    of resource: DescribeConfigsRequest.DescribeConfigsResource, _ image: MetadataImage, _ layers: BrokerConfigLayers
  ) -> Result<[ConfigDescription], ApiError> {
    let name = resource.resourceName
    switch ConfigResource.Kind(rawValue: resource.resourceType) {
    case .topic:
      if let problem = TopicName.problem(with: name) {
        return .failure(ApiError(.invalidTopicException, "Topic name is invalid: \(problem)."))
      }
      guard image.topicID(name) != nil else { return .failure(ApiError(.unknownTopicOrPartition)) }
      return .success(ConfigDescription.topic(overrides: image.configs(of: .topic(name)), broker: layers))
    case .broker:
      if name.isEmpty { return .success(ConfigDescription.broker(layers, dynamicOnly: true)) }
      guard Int32(name) == self.config.nodeID.rawValue else {
        let message = "Configs of broker \(name) were asked of broker \(self.config.nodeID): ask that broker, or name none."
        return .failure(ApiError(.invalidRequest, message))
      }
      return .success(ConfigDescription.broker(layers))
    case .brokerLogger:
      return Result { () throws(ApiError) in try self.describeLoggers(of: name) }
    case .clientMetrics, .group:
      // As in Kafka any name has the defaults, known or not. This version acts on none of them, so that none can be changed.
      guard !name.isEmpty else { return .failure(ApiError(.invalidRequest, "A name is needed.")) }
      let isGroup = resource.resourceType == ConfigResource.Kind.group.rawValue
      return .success(isGroup ? ConfigDescription.group(layers) : ConfigDescription.clientMetrics())
    case nil: return .failure(ApiError(.invalidRequest, "Resource type \(resource.resourceType) is not known."))
    }
  }

  private static func result(
    _ description: ConfigDescription, _ request: DescribeConfigsRequest
  ) -> DescribeConfigsResponse.DescribeConfigsResourceResult {
    DescribeConfigsResponse.DescribeConfigsResourceResult(
      name: description.name, value: description.value, readOnly: description.isReadOnly, configSource: description.source.rawValue,
      isSensitive: description.isSensitive,
      synonyms: request.includeSynonyms
        ? description.synonyms.map { .init(name: $0.name, value: $0.value, source: $0.source.rawValue) } : [],
      configType: description.type.rawValue, documentation: request.includeDocumentation ? description.documentation : nil)
  }

  /// The configuration of this broker with what was set dynamically.
  func configLayers(_ image: MetadataImage) -> BrokerConfigLayers {
    BrokerConfigLayers(
      staticConfig: self.staticConfig, dynamicDefault: image.configs(of: .defaultBroker),
      dynamicBroker: image.configs(of: .broker(self.config.nodeID)))
  }

  // MARK: - ListConfigResources

  func handleListConfigResources(_ exchange: Exchange<Env.Disk.File>, _ request: ListConfigResourcesRequest) {
    // v0 was ListClientMetricsResources, and there are no client metrics here.
    let supported: [Int8] = [2, 4, 8, 16, 32]
    let wanted = exchange.version == 0 ? [16] : request.resourceTypes.isEmpty ? supported : request.resourceTypes
    if wanted.contains(where: { !supported.contains($0) }) {
      return exchange.respond(ListConfigResourcesResponse(errorCode: .unsupportedVersion))
    }
    let image = self.catalog.image
    var response = ListConfigResourcesResponse()
    if wanted.contains(2) { response.configResources += image.topicsByName.map { .init(resourceName: $0.name, resourceType: 2) } }
    for type in [4, 8] as [Int8] where wanted.contains(type) {
      response.configResources += image.brokers.map { .init(resourceName: String($0.nodeID.rawValue), resourceType: type) }
    }
    exchange.respond(response)
  }
}
