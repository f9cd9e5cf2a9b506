pytest_plugins = ["plugins.brokers"]
